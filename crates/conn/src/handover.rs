//! Descriptors from one process to another, over a Unix-domain socket (unix(7), SCM_RIGHTS).

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::{io::Interest, net::UnixStream};

/// Most descriptors in one message; Linux takes 253.
const DESCRIPTORS_MAX: usize = 128;

/// Whether the process at the other end belongs to the same user as this one, or to root.
///
/// # Errors
/// If the system cannot tell.
pub fn is_own_user(stream: &UnixStream) -> io::Result<bool> {
    let uid = stream.peer_cred()?.uid();
    Ok(uid == rustix::process::geteuid().as_raw() || uid == 0)
}

/// Sends `text` and descriptors with it, in one message.
///
/// # Errors
/// Those of the socket; `InvalidInput` if there are more than 128 descriptors.
///
/// # Cancel safety
/// They have been sent or they have not.
pub async fn send_descriptors(
    stream: &UnixStream,
    text: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
            }
            Ok(sendmsg(stream.as_fd(), &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL)?)
        })
        .await?;
    if sent == text.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Reads at most `buffer.len()` bytes and the descriptors that came with them, which are closed on `exec`; 0 bytes at
/// the end of the stream.
///
/// # Errors
/// Those of the socket.
///
/// # Cancel safety
/// Nothing is lost.
pub async fn receive_descriptors(
    stream: &UnixStream,
    buffer: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    stream
        .async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut pieces = [IoSliceMut::new(buffer)];
            let received = recvmsg(stream.as_fd(), &mut pieces, &mut control, RecvFlags::CMSG_CLOEXEC)?;
            let rights = control.drain().filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            });
            Ok((received.bytes, rights.flatten().collect()))
        })
        .await
}
