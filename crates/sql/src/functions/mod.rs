//! Which functions a read may call.

mod harmless;
mod standing;
#[cfg(test)]
mod tests;
mod views;

pub(crate) use standing::{Standing, standing};
pub(crate) use views::{is_node_view, starts_as_view};

use crate::class::PinCauses;

/// What is known of the functions of a database, from its catalog or from the configuration.
///
/// The built-in lists, which hold for unqualified names and for `pg_catalog`, come first: it is asked about names that
/// are not in them, and whether harmless ones are shadowed.
pub trait Functions {
    /// Whether calling it in a read is known to be harmless on a replica and gives the same answer there: it writes
    /// nothing, leaves nothing behind in the session and does not tell about the node it runs on.
    ///
    /// `schema` and `name` come in lower case or, where quoted, as quoted. True only if every function of that name
    /// that the call may mean is harmless.
    fn is_harmless(&self, schema: Option<&[u8]>, name: &[u8]) -> bool;

    /// Whether a call of a built-in harmless `name` is not to be taken for harmless: unqualified, it may mean a function
    /// outside `pg_catalog`, such as a volatile `format(my_type)` that somebody added, or the configuration says so.
    ///
    /// `schema` is `None` or `pg_catalog`.
    fn shadows(&self, _schema: Option<&[u8]>, _name: &[u8]) -> bool {
        false
    }

    /// What calling a function that is not harmless may leave behind in the session, as its code shows (see
    /// [`effect_of_code`](crate::effect_of_code)); `None`: nothing that is known.
    fn leaves_behind(&self, _schema: Option<&[u8]>, _name: &[u8]) -> Option<PinCauses> {
        None
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
