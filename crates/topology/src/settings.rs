use std::time::Duration;

/// One PostgreSQL server that belongs to the cluster. Its role is found, never configured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeSettings {
    /// A name for people, unique in the cluster; by default `host:port`.
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The region it stands in.
    pub region: String,
    /// The zone inside the region, if zones are told apart.
    pub zone: Option<String>,
    /// How gladly it is made the primary: of equals the highest wins; 0: never by itself (default 100).
    pub priority: u16,
    /// When it serves.
    pub service: Service,
}

/// When a node serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Service {
    /// Always, as long as it is fit.
    #[default]
    Always,
    /// In place of a node that was lost, if it follows the primary.
    Spare,
    /// The same; and if it does not follow, there is somebody who can make it.
    Buildable,
}

impl Service {
    /// Whether it serves only in place of another.
    #[must_use]
    pub fn is_spare(self) -> bool {
        match self {
            Self::Always => false,
            Self::Spare | Self::Buildable => true,
        }
    }
}

/// When spares serve, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpareSettings {
    /// For how long a node must have been missed until a spare takes its place (default 60 s).
    pub after: Duration,
    /// Regions in order of preference, behind that of the lost node.
    pub regions: Vec<String>,
}

impl Default for SpareSettings {
    fn default() -> Self {
        Self { after: Duration::from_secs(60), regions: Vec::new() }
    }
}

/// What belongs together: a primary and its standbys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The cluster's name.
    pub cluster: String,
    /// Its servers, in configured order.
    pub nodes: Vec<NodeSettings>,
    /// A node is down after this many probes in a row went unanswered (default 3).
    pub down_after_probes: u32,
    /// How long a crashed primary that answers 57P03 counts as recovering instead of down (default 5 s).
    pub crash_grace: Duration,
    /// How spares are used.
    pub spares: SpareSettings,
}
