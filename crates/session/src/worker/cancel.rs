//! Ending what runs on servers.

use std::{rc::Rc, time::Duration};

use pool::{Body, DialPlan, Pool, Server, settle};

use super::Worker;
use crate::{handle::Handle, pool_set::PoolSet};

/// How long a cancel may take on its way; then whatever it was for goes on.
const CANCEL_DEADLINE: Duration = Duration::from_secs(5);

/// After a cancel the server has this long to end what it does before it is cancelled again, and twice as long after
/// each further one.
const OBEYS_WITHIN: Duration = Duration::from_millis(100);

/// A statement is cancelled so often before its connection is closed under it.
const TRIES: u32 = 4;

impl Worker {
    /// Cancels what runs on `server` for the client of `handle`, and keeps the server from anybody else until the
    /// cancel has arrived.
    pub(crate) fn cancel_on_server(&self, server: &Server, handle: &Rc<Handle>) {
        /// More cancels of one statement than this at a time do nothing more.
        const AT_ONCE: u32 = 2;
        let cancels = Rc::clone(server.cancels());
        let Some(pool) = server.pool().filter(|_| cancels.get() < AT_ONCE) else { return };
        cancels.set(cancels.get() + 1);
        let (plan, pid, key) = (pool.plan(), server.process_id(), server.cancel_key());
        let (handle, doomed) = (Rc::clone(handle), Rc::clone(server.doomed()));
        tokio::task::spawn_local(async move {
            if send_cancel(&plan, pid, &key).await == Cancelled::Perhaps {
                doomed.set(true);
            }
            cancels.set(cancels.get() - 1);
            handle.wake();
        });
    }

    /// Cancels what the server process `pid` runs, which is its client's alone.
    pub(crate) fn cancel_process(&self, plan: &DialPlan, pid: u32, key: &Rc<[u8]>) {
        let (plan, key) = (plan.clone(), Rc::clone(key));
        // if it is lost, the client asks again
        tokio::task::spawn_local(async move {
            send_cancel(&plan, pid, &key).await;
        });
    }

    /// Ends what runs on `server` and closes it. A cancel that overtakes its statement does nothing, and a server
    /// that runs a statement does not notice that its socket is closed: so the end is waited for.
    pub(crate) fn cancel_and_close(&self, pools: &PoolSet, pool: &Pool, mut server: Box<Server>) {
        let (plan, parameters) = (pool.plan(), Rc::clone(&pools.parameters));
        tokio::task::spawn_local(async move {
            for n in 0..TRIES {
                send_cancel(&plan, server.process_id(), &server.cancel_key()).await;
                let is_answering = server.body != Body::Boundary;
                let awaits_more = server.ledger.is_copy_in() || !server.output.is_empty();
                if is_answering || awaits_more {
                    break; // the cancel found it at work, or it reads and notices the end
                }
                let settled = settle(&mut server, &parameters);
                if tokio::time::timeout(OBEYS_WITHIN * 2_u32.pow(n), settled).await.is_ok() {
                    break;
                }
            }
        });
    }
}

/// What is known of a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancelled {
    /// The server has dealt with it.
    Done,
    /// It may have been lost, or be carried out at any time.
    Perhaps,
}

async fn send_cancel(plan: &DialPlan, pid: u32, key: &[u8]) -> Cancelled {
    let cancelling = conn::cancel(&plan.target, &plan.tls, pid, key);
    match tokio::time::timeout(CANCEL_DEADLINE, cancelling).await {
        Ok(Ok(())) => return Cancelled::Done,
        Ok(Err(error)) => tracing::debug!(?plan, %error, "a cancel did not arrive"),
        Err(_) => tracing::debug!(?plan, "a cancel did not arrive in time"),
    }
    Cancelled::Perhaps
}
