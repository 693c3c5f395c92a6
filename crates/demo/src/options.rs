use std::path::PathBuf;

/// The most regions a demo can have.
pub const MAX_REGIONS: u8 = 5;

/// What `pgherd demo` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many regions, each with one PostgreSQL server and one proxy: 1 to [`MAX_REGIONS`] (default 3).
    pub regions: u8,
    /// The first proxy's port; the others follow, and taken ones are skipped (default 5432).
    pub base_port: u16,
    /// Where everything lives (default: a new directory in the system's temporary one). The directory of a kept demo
    /// starts that demo again.
    pub dir: Option<PathBuf>,
    /// Leave the directory behind (default false).
    pub keep: bool,
    /// Stop by itself this many seconds after everything is ready (default: never).
    pub seconds: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { regions: 3, base_port: 5432, dir: None, keep: false, seconds: None }
    }
}
