//! Ending what runs on servers.

use std::{rc::Rc, time::Duration};

use conn::Stream;
use pool::{Body, DialPlan, Place, Pool, Server, settle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

    /// Closes the connection of a server process that its client has left, and ends what it runs, which does not notice
    /// that: the place is free when the process has gone, or does not go.
    pub(crate) fn end_process(
        &self,
        plan: DialPlan,
        (pid, key): (u32, Rc<[u8]>),
        mut server: Stream,
        place: Place,
    ) {
        tokio::task::spawn_local(async move {
            for n in 0..TRIES {
                let ended = hang_up(&mut server);
                if tokio::time::timeout(OBEYS_WITHIN * 2_u32.pow(n), ended).await.is_ok() {
                    break;
                }
                send_cancel(&plan, pid, &key).await;
            }
            drop(place);
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

/// Says that nothing more comes and waits until the server has closed its side; what it says until then is nobody's.
async fn hang_up(server: &mut Stream) {
    let _ = server.shutdown().await; // the server may have closed its side before
    let mut ignored = [0; 4096];
    while server.read(&mut ignored).await.is_ok_and(|n| n > 0) {}
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
