//! Who may log in.

use std::path::PathBuf;

use crate::{
    section::{Preset::Required, Preset::Text as Default, Preset::Unset, section},
    value::{Count, List, Name, SecretSource, Text, Time},
};

/// What suits most who want every role to log in.
const QUERY_SAMPLE: &str =
    "\"SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1 AND rolcanlogin\"";

section! {
    /// Where the secrets of clients come from. A file, a query, `[[user]]` entries, or several of them.
    Auth, "auth", repeated: false {
        /// A file of lines `"user" "secret"` as PgBouncer has it; a secret is a SCRAM-SHA-256 verifier or a password.
        /// It must not be readable by everybody.
        file: Option<PathBuf> = Unset("\"userlist.txt\""), Reload;
        /// A query that finds users who are in no file, run on the primary as the monitor's role: returns name and
        /// secret of the role `$1`.
        query: Option<Text> = Unset(QUERY_SAMPLE), Reload;
        /// The database in which the query is run.
        query_database: Name = Default("postgres"), Reload;
        /// Whether logins go on with the known users when the monitor's role may not run the query.
        query_optional: bool = Default("false"), Reload;
        /// How long an answer of the query is remembered.
        cache: Time<0, 86_400_000> = Default("60s"), Reload;
    }
}

section! {
    /// A user who may log in, or something about one whose secret comes from `[auth]`.
    User, "user", repeated: true {
        /// The role's name; "*" is every role that has no entry of its own.
        name: Name = Required("\"app\""), Reload;
        /// A SCRAM-SHA-256 verifier or a password; or where it is: { file = "…" } or { env = "…" }. The file must not
        /// be readable by everybody. Unset: it comes from `[auth]`.
        secret: Option<SecretSource> = Unset("{ file = \"/run/secrets/app\" }"), Reload;
        /// Most server connections of it, over all databases and nodes; with the name "*", of each such role. 0: as
        /// many as the pools allow.
        max_server_connections: Count<0, 1_000_000> = Default("0"), Reload;
    }
}

section! {
    /// Who may connect to the console, the database "pgherd" (or "pgbouncer"). Their secrets come from `[auth]` and
    /// `[[user]]`. Nobody by default: a role that happens to exist must not become an administrator by its name.
    Admin, "admin", repeated: false {
        /// Users who may do everything.
        users: List<Name> = Default(""), Reload;
        /// Users who may only look.
        stats_users: List<Name> = Default(""), Reload;
    }
}
