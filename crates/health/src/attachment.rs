//! Nodes that an operator sets aside, and standing orders that outlive this process.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};
use topology::{DetachError, NodeId};

use crate::{
    Health, PlannedMoves,
    standing::{self, Standing},
    supervisor::{Command, Supervisor},
};

/// Time between two looks at what is still under way.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long sessions whose time is over may take to be gone.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// Time to the next attempt to store what could not be stored.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// What an operator says about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attachment {
    Detach,
    Attach,
}

/// How that was taken.
#[derive(Debug)]
pub(crate) struct Attached {
    /// Something has changed.
    is_news: bool,
    /// There is a place where it is remembered over a restart.
    is_stored: bool,
    /// What it takes to see that nothing is under way any more.
    planned: Option<PlannedMoves>,
}

/// A node that is detached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detached {
    /// It was not before.
    pub is_news: bool,
    /// A restart of this process does not forget it.
    pub is_stored: bool,
    /// Requests that are under way on it all the same.
    pub busy: u32,
}

/// Why a node is neither detached nor attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It cannot be.
    #[error(transparent)]
    Refused(#[from] DetachError),
    /// The cluster is not watched any more.
    #[error(transparent)]
    Stopped(#[from] crate::Stopped),
}

impl Health {
    /// Has nothing read from this node any more, until it is attached again; waits until what was under way has ended,
    /// which is when clients' time for that (`drain_timeout`) is over, at the latest.
    ///
    /// # Errors
    /// [`AttachError`]: nothing has changed.
    ///
    /// # Cancel safety
    /// The node is detached; only the waiting ends.
    pub async fn detach(&self, node: NodeId) -> Result<Detached, AttachError> {
        let Attached { is_news, is_stored, planned } = self.say(node, Attachment::Detach).await?;
        let mut busy = 0;
        if let Some(planned) = planned {
            let cluster = self.cluster();
            let deadline = Instant::now() + planned.drain_timeout + LAST_GRACE;
            loop {
                busy = planned.traffic.busy(cluster, node, Instant::now().into_std()).await.all;
                if busy == 0 || Instant::now() >= deadline {
                    break;
                }
                sleep(LOOK_AGAIN).await;
            }
        }
        Ok(Detached { is_news, is_stored, busy })
    }

    /// Has it read from again as soon as it is fit for that; whether it was detached.
    ///
    /// # Errors
    /// [`AttachError`]: nothing has changed.
    pub async fn attach(&self, node: NodeId) -> Result<bool, AttachError> {
        Ok(self.say(node, Attachment::Attach).await?.is_news)
    }

    async fn say(&self, node: NodeId, what: Attachment) -> Result<Attached, AttachError> {
        let (answer, answered) = oneshot::channel();
        self.command(Command::Attachment(node, what, answer)).await?;
        Ok(answered.await.map_err(|_| crate::Stopped)??)
    }
}

/// The standing orders as they are on disk.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) standing: Standing,
    pub(crate) again_at: Option<Instant>,
}

impl Supervisor {
    /// Applies what an operator says about a node.
    pub(crate) fn set_attachment(&mut self, node: NodeId, what: Attachment) -> Result<Attached, DetachError> {
        let now = Instant::now().into_std();
        let is_news = match what {
            Attachment::Detach => {
                let before = self.cluster.detached().len();
                self.cluster.detach(node, now)?;
                self.cluster.detached().len() > before
            }
            Attachment::Attach => self.cluster.attach(node, now),
        };
        let (is_stored, planned) = (self.settings.state_file.is_some(), self.settings.planned.clone());
        Ok(Attached { is_news, is_stored, planned })
    }

    /// Stores what holds now, if it is not what is stored.
    pub(crate) async fn keep_standing(&mut self) {
        let Some(state_file) = &self.settings.state_file else { return };
        let stored = &self.standing.standing;
        let is_maintenance =
            self.managed.as_ref().map_or(stored.is_maintenance, |managed| managed.is_maintenance());
        let is_kept = stored.is_maintenance == is_maintenance && stored.detached == self.cluster.detached();
        if is_kept || self.standing.again_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        let standing = Standing { is_maintenance, detached: self.cluster.detached().to_vec() };
        let (path, content) = (standing::path(state_file), standing.clone());
        let shown = path.display().to_string();
        let written = tokio::task::spawn_blocking(move || standing::write(&path, &content)).await;
        match written.unwrap_or_else(|_| Err(io::Error::other("the writing task ended"))) {
            Ok(()) => self.standing = Stored { standing, again_at: None },
            Err(error) => {
                tracing::error!(cluster = %self.name, path = shown, %error, "the state file cannot be written");
                self.standing.again_at = Some(Instant::now() + STORE_AGAIN);
            }
        }
    }

    /// Goes on with what an earlier run stored.
    pub(crate) fn with_standing(mut self, standing: Standing) -> Self {
        let mut wanted: Vec<Arc<str>> = standing.detached.clone();
        wanted.dedup();
        self.cluster.remember_detached(wanted);
        if let Some(managed) = &mut self.managed {
            managed.set_maintenance(standing.is_maintenance);
        }
        self.standing = Stored { standing, again_at: None };
        self
    }
}
