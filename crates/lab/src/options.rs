use std::path::PathBuf;

/// What kind of cluster to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many standbys the primary gets (default 2).
    pub standbys: usize,
    /// The nodes' regions in order, the primary's first; they repeat when there are more nodes (default `eu`,
    /// `us`, `ap`, `sa`, `af`). They become part of file and slot names: lower-case letters, digits and `_`.
    pub regions: Vec<String>,
    /// Where everything lives; `None`: a new directory in the system's temporary one. The directory of a kept
    /// cluster starts that cluster again, and then `standbys`, `regions` and the names below are the old ones.
    pub directory: Option<PathBuf>,
    /// Leave the directory behind (default false).
    pub keep: bool,
    /// Survive a power failure, which costs a lot of time on a slow disk (default false). A killed server loses
    /// nothing either way.
    pub fsync: bool,
    /// PostgreSQL's `max_connections` (default 100).
    pub max_connections: u32,
    /// More lines for postgresql.conf; the last one of a name wins (default none).
    pub settings: Vec<(String, String)>,
    /// The ordinary role, owner of `database` (default `app`).
    pub role: String,
    /// The ordinary role's database (default `app`).
    pub database: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            standbys: 2,
            regions: ["eu", "us", "ap", "sa", "af"].map(String::from).to_vec(),
            directory: None,
            keep: false,
            fsync: false,
            max_connections: 100,
            settings: Vec::new(),
            role: "app".to_owned(),
            database: "app".to_owned(),
        }
    }
}

/// A role and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The role's name.
    pub user: String,
    /// Its password in clear text.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}
