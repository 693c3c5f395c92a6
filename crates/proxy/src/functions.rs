//! What is known about a database's functions: what its catalog says, and above it what the configuration says.

use std::{collections::HashSet, fmt, sync::Arc};

use config::FunctionLists;
use health::{FunctionCatalog, Health};
use session::{FunctionSource, FunctionsNow};
use sql::Functions;

/// The functions of one cluster's databases.
pub(crate) struct KnownFunctions {
    health: Arc<Health>,
    lists: Arc<Lists>,
}

/// Names as configured: `schema.name`, or `name` alone for any schema; folded to lower case.
struct Lists {
    primary: HashSet<Box<[u8]>>,
    replica: HashSet<Box<[u8]>>,
}

impl KnownFunctions {
    /// `lists` go above the catalogs that `health` reads.
    pub(crate) fn new(health: Arc<Health>, lists: &FunctionLists) -> Self {
        let folded =
            |names: &[String]| names.iter().map(|name| name.to_lowercase().into_bytes().into()).collect();
        let lists = Lists { primary: folded(&lists.primary), replica: folded(&lists.replica) };
        Self { health, lists: Arc::new(lists) }
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
        if self.lists.primary.is_empty() && self.lists.replica.is_empty() {
            return (version, catalog);
        }
        (version, Arc::new(Listed { lists: Arc::clone(&self.lists), catalog }))
    }
}

struct Listed {
    lists: Arc<Lists>,
    catalog: Arc<FunctionCatalog>,
}

impl Functions for Listed {
    fn is_harmless(&self, schema: Option<&[u8]>, name: &[u8]) -> bool {
        let named = |list: &HashSet<Box<[u8]>>| {
            list.contains(name) || schema.is_some_and(|schema| list.contains(&*[schema, b".", name].concat()))
        };
        if named(&self.lists.primary) {
            return false;
        }
        named(&self.lists.replica) || self.catalog.is_harmless(schema, name)
    }
}
