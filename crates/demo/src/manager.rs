use crate::{process::Process, status::Report};

/// Whether the proxy that decides who is the primary does so at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Manager {
    /// Its process is gone.
    Down,
    /// Its console does not answer.
    Silent,
    /// There is nothing to do for it.
    Idle,
    /// It does this.
    Busy(String),
}

impl Manager {
    pub(crate) fn of(process: &Process, report: Option<Report>) -> Self {
        match (process.pid(), report) {
            (None, _) => Self::Down,
            (Some(_), None) => Self::Silent,
            (Some(_), Some(report)) => report.under_way.map_or(Self::Idle, Self::Busy),
        }
    }

    /// Whether it would do something if the primary were lost now.
    pub(crate) fn is_there(&self) -> bool {
        match self {
            Self::Down | Self::Silent => false,
            Self::Idle | Self::Busy(_) => true,
        }
    }

    /// For people; `region` is that of the proxy.
    pub(crate) fn line(&self, region: &str) -> String {
        match self {
            Self::Down => format!("nobody manages the cluster now: proxy {region} does, and is down"),
            Self::Silent => {
                format!("nobody manages the cluster now: proxy {region} does, and does not answer")
            }
            Self::Idle => format!("proxy {region} manages the cluster"),
            Self::Busy(what) => format!("proxy {region} manages the cluster: {what}"),
        }
    }
}
