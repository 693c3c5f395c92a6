//! SUSPEND: sessions leave their sockets alone until RESUME, each as soon as nothing of it is in the proxy's buffers.
//! What clients send meanwhile waits in their sockets, and requests that stood in a queue stay in it.

use pool::Body;

use super::Worker;
use crate::{
    Purpose,
    handle::Handle,
    session::{ClientBody, Phase, Session},
};

impl Session {
    /// Whether it has nothing to do until RESUME.
    #[inline]
    pub(crate) fn is_suspended(&self) -> bool {
        self.worker.is_suspended() && self.rests()
    }

    /// Whether nothing is in its buffers but a request that waits in a queue; notes it for whoever waits for that.
    #[cold]
    fn rests(&self) -> bool {
        let between_messages = self.input.is_empty() && self.body == ClientBody::Boundary;
        let inside = match &self.phase {
            Phase::Linked(server) => {
                between_messages
                    && server.input.is_empty()
                    && server.output.is_empty()
                    && server.body == Body::Boundary
                    && self.exchange().held_back.is_empty()
            }
            Phase::Waiting(_) | Phase::Held | Phase::InDoubt(_) => true,
            Phase::Idle | Phase::Local(_) => between_messages,
        };
        let rests = inside && self.output.is_empty();
        self.handle.rests.set(rests);
        rests
    }
}

impl Worker {
    /// Whether sessions leave their sockets alone.
    #[inline]
    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended.get()
    }

    pub(super) fn suspend(&self) {
        self.suspended.set(true);
        for (handle, _) in self.handles.borrow().values() {
            handle.wake();
        }
    }

    /// Whether every session rests.
    pub(super) fn is_still(&self) -> bool {
        // whoever has no walsender yet has sent nothing that could be in a buffer
        let awaits_walsender =
            |handle: &Handle| handle.purpose != Purpose::Session && handle.node.get().is_none();
        let rests = |handle: &Handle| handle.rests.get() || awaits_walsender(handle);
        self.is_suspended() && self.handles.borrow().values().all(|(handle, _)| rests(handle))
    }

    pub(super) fn end_suspension(&self) {
        if self.suspended.replace(false) {
            for (handle, _) in self.handles.borrow().values() {
                handle.rests.set(false);
                handle.wake();
            }
        }
    }
}
