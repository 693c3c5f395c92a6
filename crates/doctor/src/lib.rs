//! What pgherd needs of PostgreSQL, and what would break a failover: privileges and the SQL that grants them, facts about
//! nodes, and findings about the facts, each with what mends it.
//!
//! Functions of values. The questions stand here as text and the answers come in as rows; who asks is `health`.

mod conninfo;
mod facts;
mod finding;
mod identifier;
mod init_sql;
mod judge;
mod privilege;
mod replication;
mod report;
mod subject;

pub use facts::*;
pub use finding::{Finding, Verdict};
pub use identifier::{quote_identifier, quote_literal};
pub use init_sql::{InitSql, Password, ServerVersion, UnknownVersion};
pub use judge::judge;
pub use privilege::{Mode, Privilege, Secrets};
pub use replication::{Outcome, Replay, Replicated, judge_replication};
pub use report::{Extent, Style, report, report_replication};
pub use subject::{Lookup, Memory, Purpose, Subject};
