use std::collections::HashMap;

use sql::Functions;
use testkit::Client;

const BUILT_IN: &str = "pg_catalog";

/// The database's functions as the proxy knows them: by schema and name, whether any of them is volatile.
#[derive(Default)]
pub(super) struct Known {
    built_in: HashMap<String, bool>,
    others: HashMap<(String, String), bool>,
}

impl Known {
    /// Reads the functions of the schemas `n` for which `condition` holds; those outside pg_catalog are replaced.
    pub(super) async fn load(&mut self, client: &mut Client, condition: &str) {
        let sql = format!(
            "select n.nspname, p.proname, bool_or(p.provolatile = 'v' or exists (
                 select from pg_aggregate a join pg_proc f on f.oid in (a.aggtransfn, a.aggfinalfn, a.aggcombinefn,
                     a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
                 where a.aggfnoid = p.oid and f.provolatile = 'v'))
             from pg_proc p join pg_namespace n on n.oid = p.pronamespace
             where p.prokind <> 'p' and {condition} group by 1, 2"
        );
        self.others.clear();
        for row in client.rows(&sql).await.unwrap() {
            let Ok([Some(schema), Some(name), Some(volatile)]) = <[_; 3]>::try_from(row) else {
                panic!("names are not null");
            };
            if schema == BUILT_IN {
                self.built_in.insert(name, volatile == "t");
            } else {
                self.others.insert((schema, name), volatile == "t");
            }
        }
    }

    /// Whether a statement may have made, changed or dropped functions.
    pub(super) fn may_change_with(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let words = ["function", "aggregate", "type", "schema", "extension", "rollback", "domain", "routine"];
        words.iter().any(|word| text.contains(word))
    }

    /// Of the functions of this name outside pg_catalog.
    fn others<'a>(&'a self, name: &'a str) -> impl Iterator<Item = bool> + 'a {
        self.others.iter().filter(move |((_, its), _)| its == name).map(|(_, volatile)| *volatile)
    }
}

impl Functions for Known {
    fn is_harmless(&self, schema: Option<&[u8]>, name: &[u8]) -> bool {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let name = text(name);
        match schema.map(text) {
            Some(schema) if schema == BUILT_IN => self.built_in.get(&name) == Some(&false),
            Some(schema) => self.others.get(&(schema, name)) == Some(&false),
            None => {
                let all: Vec<bool> =
                    self.built_in.get(&name).copied().into_iter().chain(self.others(&name)).collect();
                !all.is_empty() && !all.contains(&true)
            }
        }
    }

    fn shadows(&self, schema: Option<&[u8]>, name: &[u8]) -> bool {
        schema.is_none() && self.others(&String::from_utf8_lossy(name)).any(|volatile| volatile)
    }
}
