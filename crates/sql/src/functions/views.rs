//! System views whose rows are the node's own and not the cluster's.

use crate::name::is_named;
use crate::token::Token;

/// The primary's rows are meant: a transaction manager that asks a standby for prepared transactions finds none and
/// would forget them. Statistics views are not here: they are the node's own too, but nothing depends on them.
const VIEWS: [&[u8]; 14] = [
    b"pg_prepared_xacts",
    b"pg_stat_activity",
    b"pg_stat_replication",
    b"pg_stat_replication_slots",
    b"pg_stat_subscription",
    b"pg_replication_slots",
    b"pg_replication_origin_status",
    b"pg_locks",
    b"pg_cursors",
    b"pg_prepared_statements",
    b"pg_sequences", // a standby's last_value runs ahead by what the primary logged in advance
    b"pg_file_settings",
    b"pg_hba_file_rules",
    b"pg_ident_file_mappings",
];

/// Whether `name` is that of a view that tells about the node.
#[inline]
pub(crate) fn is_node_view(name: Token<'_>) -> bool {
    starts_as_view(name) && VIEWS.iter().any(|view| is_named(name, view))
}

/// Whether `name` starts as those of such views do.
#[inline(always)]
pub(crate) fn starts_as_view(name: Token<'_>) -> bool {
    match name.from {
        // the first byte by itself: it decides nearly always
        [b'p' | b'P', rest @ ..] => matches!(rest, [b'g' | b'G', b'_', ..]),
        [b'"', rest @ ..] => matches!(rest, [b'p' | b'P', b'g' | b'G', b'_', ..]),
        _ => false,
    }
}
