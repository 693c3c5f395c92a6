/// What can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Noun {
    Agents,
    Clients,
    Config,
    Databases,
    Endpoints,
    Epochs,
    Events,
    FailoverSteps,
    Failovers,
    Holds,
    Limits,
    Listeners,
    Lists,
    Nodes,
    Patroni,
    Pinned,
    Pools,
    Prepared,
    Regions,
    Servers,
    State,
    Stats,
    StatsAverages,
    StatsTotals,
    Topology,
    Totals,
    Users,
    Version,
}

impl Noun {
    /// All of them.
    pub(crate) const ALL: [Self; 28] = [
        Self::Agents,
        Self::Clients,
        Self::Config,
        Self::Databases,
        Self::Endpoints,
        Self::Epochs,
        Self::Events,
        Self::FailoverSteps,
        Self::Failovers,
        Self::Holds,
        Self::Limits,
        Self::Listeners,
        Self::Lists,
        Self::Nodes,
        Self::Patroni,
        Self::Pinned,
        Self::Pools,
        Self::Prepared,
        Self::Regions,
        Self::Servers,
        Self::State,
        Self::Stats,
        Self::StatsAverages,
        Self::StatsTotals,
        Self::Topology,
        Self::Totals,
        Self::Users,
        Self::Version,
    ];

    /// The word after SHOW.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Agents => "AGENTS",
            Self::Clients => "CLIENTS",
            Self::Config => "CONFIG",
            Self::Databases => "DATABASES",
            Self::Endpoints => "ENDPOINTS",
            Self::Epochs => "EPOCHS",
            Self::Events => "EVENTS",
            Self::FailoverSteps => "FAILOVER_STEPS",
            Self::Failovers => "FAILOVERS",
            Self::Holds => "HOLDS",
            Self::Limits => "LIMITS",
            Self::Listeners => "LISTENERS",
            Self::Lists => "LISTS",
            Self::Nodes => "NODES",
            Self::Patroni => "PATRONI",
            Self::Pinned => "PINNED",
            Self::Pools => "POOLS",
            Self::Prepared => "PREPARED",
            Self::Regions => "REGIONS",
            Self::Servers => "SERVERS",
            Self::State => "STATE",
            Self::Stats => "STATS",
            Self::StatsAverages => "STATS_AVERAGES",
            Self::StatsTotals => "STATS_TOTALS",
            Self::Topology => "TOPOLOGY",
            Self::Totals => "TOTALS",
            Self::Users => "USERS",
            Self::Version => "VERSION",
        }
    }

    pub(crate) fn find(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|noun| noun.word().eq_ignore_ascii_case(word))
    }
}
