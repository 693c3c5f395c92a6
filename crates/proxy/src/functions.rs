//! What is known about a database's functions: what its catalog says, and above it what the configuration says.

use std::{
    collections::HashSet,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use config::FunctionLists;
use health::Health;
use session::{FunctionSource, FunctionsNow};
use sql::{Functions, PinCauses};

/// The functions of one cluster's databases.
pub(crate) struct KnownFunctions {
    health: Arc<Health>,
    lists: Arc<Lists>,
}

/// Names as configured, folded to lower case.
struct Lists {
    primary: HashSet<Box<[u8]>>,
    /// What an unqualified call of one of `primary` may look like.
    primary_bare: HashSet<Box<[u8]>>,
    replica: HashSet<Box<[u8]>>,
    /// Tells these lists from those before a reload.
    version: u64,
}

impl Lists {
    fn new(lists: &FunctionLists) -> Self {
        let folded = |name: &str| name.to_lowercase().into_bytes().into();
        let bare = |name: &String| folded(name.rsplit('.').next().unwrap_or(name));
        let mut hasher = DefaultHasher::new();
        (&lists.primary, &lists.replica).hash(&mut hasher);
        Self {
            primary: lists.primary.iter().map(|name| folded(name)).collect(),
            primary_bare: lists.primary.iter().map(bare).collect(),
            replica: lists.replica.iter().map(|name| folded(name)).collect(),
            version: hasher.finish(),
        }
    }

    fn is_empty(&self) -> bool {
        self.primary.is_empty() && self.replica.is_empty()
    }

    /// What they say of a call; `None`: nothing. An unqualified call may mean any schema's function, so one that is for
    /// the primary is enough; to be safe on a replica it has to be listed without a schema.
    fn target(&self, schema: Option<&[u8]>, name: &[u8]) -> Option<Target> {
        let listed = |list: &HashSet<Box<[u8]>>| {
            list.contains(name) || schema.is_some_and(|schema| list.contains(&*[schema, b".", name].concat()))
        };
        if listed(&self.primary) || schema.is_none() && self.primary_bare.contains(name) {
            Some(Target::Primary)
        } else {
            listed(&self.replica).then_some(Target::Replica)
        }
    }
}

/// Where a listed function may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// On the primary alone.
    Primary,
    /// On a replica, too.
    Replica,
}

impl KnownFunctions {
    /// `lists` go above the catalogs that `health` reads.
    pub(crate) fn new(health: Arc<Health>, lists: &FunctionLists) -> Self {
        Self { health, lists: Arc::new(Lists::new(lists)) }
    }
}

impl fmt::Debug for KnownFunctions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KnownFunctions")
    }
}

impl FunctionSource for KnownFunctions {
    fn functions(&self, database: &str) -> FunctionsNow {
        let (version, catalog) = self.health.functions(database);
        if self.lists.is_empty() {
            return (version, catalog);
        }
        (
            version.wrapping_add(self.lists.version),
            Arc::new(Listed { lists: Arc::clone(&self.lists), catalog }),
        )
    }

    fn are_known(&self, database: &str) -> bool {
        self.health.are_functions_known(database)
    }

    fn refresh(&self, database: &str) {
        self.health.refresh_functions(database);
    }
}

/// The lists above a catalog.
struct Listed<C> {
    lists: Arc<Lists>,
    catalog: Arc<C>,
}

impl<C: Functions> Functions for Listed<C> {
    fn is_harmless(&self, schema: Option<&[u8]>, name: &[u8]) -> bool {
        match self.lists.target(schema, name) {
            Some(target) => target == Target::Replica,
            None => self.catalog.is_harmless(schema, name),
        }
    }

    fn shadows(&self, schema: Option<&[u8]>, name: &[u8]) -> bool {
        match self.lists.target(schema, name) {
            Some(target) => target == Target::Primary,
            None => self.catalog.shadows(schema, name),
        }
    }

    fn leaves_behind(&self, schema: Option<&[u8]>, name: &[u8]) -> Option<PinCauses> {
        self.catalog.leaves_behind(schema, name)
    }
}

#[cfg(test)]
mod tests {
    use sql::{Kind, classify};

    use super::*;

    /// Knows a volatile `format` outside `pg_catalog`, and that `audit` is harmless.
    struct Catalog;

    impl Functions for Catalog {
        fn is_harmless(&self, _schema: Option<&[u8]>, name: &[u8]) -> bool {
            name == b"audit"
        }

        fn shadows(&self, schema: Option<&[u8]>, name: &[u8]) -> bool {
            schema.is_none() && name == b"format"
        }
    }

    #[track_caller]
    fn check(primary: &[&str], replica: &[&str], call: &str, expected: Kind) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let lists = Lists::new(&FunctionLists { primary: owned(primary), replica: owned(replica) });
        let known = Listed { lists: Arc::new(lists), catalog: Arc::new(Catalog) };
        assert_eq!(classify(format!("select {call}").as_bytes(), &known).kind, expected, "{call}");
    }

    #[test]
    fn a_list_leaves_to_the_catalog_what_it_does_not_name() {
        check(&["x"], &["y"], "format('a')", Kind::Write);
        check(&["x"], &["y"], "pg_catalog.format('a')", Kind::Read);
        check(&["x"], &["y"], "audit()", Kind::Read);
        check(&["x"], &["y"], "unheard_of()", Kind::Write);
    }

    #[test]
    fn built_in_functions_can_be_kept_on_the_primary() {
        check(&["PG_Sleep"], &[], "pg_sleep(1)", Kind::Write);
        check(&["pg_sleep"], &[], "pg_catalog.pg_sleep(1)", Kind::Write);
        check(&["pg_catalog.pg_sleep"], &[], "pg_sleep(1)", Kind::Write);
        check(&["shop.lower"], &[], "pg_catalog.lower('a')", Kind::Read);
        check(&[], &["format"], "format('a')", Kind::Read);
        check(&[], &["public.format"], "format('a')", Kind::Write);
    }

    #[test]
    fn an_unqualified_call_may_mean_the_listed_schema() {
        check(&["shop.audit"], &[], "audit()", Kind::Write);
        check(&["shop.audit"], &[], "shop.audit()", Kind::Write);
        check(&["shop.audit"], &[], "other.audit()", Kind::Read);
        check(&[], &["shop.stamp"], "shop.stamp()", Kind::Read);
        check(&[], &["shop.stamp"], "stamp()", Kind::Write);
    }
}
