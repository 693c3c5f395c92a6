//! Which functions a read may call.

mod harmless;
mod standing;
#[cfg(test)]
mod tests;
mod views;

pub(crate) use standing::{Standing, standing};
pub(crate) use views::is_node_view;

/// What is known of the functions of a database, from its catalog or from the configuration.
///
/// Asked only about names that the built-in lists do not decide; those lists hold for unqualified names and for
/// `pg_catalog`.
pub trait Functions {
    /// Whether calling it in a read is known to be harmless on a replica and gives the same answer there: it writes
    /// nothing, leaves nothing behind in the session and does not tell about the node it runs on.
    ///
    /// `schema` and `name` come in lower case or, where quoted, as quoted. True only if every function of that name
    /// that the call may mean is harmless.
    fn is_harmless(&self, schema: Option<&[u8]>, name: &[u8]) -> bool;

    /// Whether an unqualified call of a built-in harmless `name` may mean a function outside `pg_catalog` that is not
    /// harmless, such as a volatile `format(my_type)` that somebody added.
    fn shadows(&self, _name: &[u8]) -> bool {
        false
    }
}

/// Nothing is known but the built-in lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoFunctions;

impl Functions for NoFunctions {
    fn is_harmless(&self, _schema: Option<&[u8]>, _name: &[u8]) -> bool {
        false
    }
}
