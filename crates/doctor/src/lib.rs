//! What pgherd needs of PostgreSQL, and what would break a failover: privileges and the SQL that grants them, facts about
//! nodes, and findings about the facts, each with what mends it.
//!
//! Functions of values. The questions stand here as text and the answers come in as rows; who asks is `health`.

mod identifier;
mod init_sql;
mod privilege;

pub use identifier::{quote_identifier, quote_literal};
pub use init_sql::{InitSql, Password, ServerVersion, UnknownVersion};
pub use privilege::{Mode, Privilege, Secrets};
