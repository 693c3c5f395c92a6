//! The Unix-domain socket of a listener: made, given its mode, and removed with it.

use std::{
    fs::{self, File, Permissions, TryLockError},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use socket2::{Domain, SockAddr, Type};
use tokio::net::UnixListener;

/// A socket file that is ours. It is removed when this is dropped, unless somebody has replaced it.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode, by which it is told from what stands there later.
    identity: (u64, u64),
    disowned: AtomicBool,
}

impl SocketFile {
    /// The one at `path`.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)?, disowned: AtomicBool::new(false) })
    }

    /// It is somebody else's from now on, and not removed.
    pub(crate) fn disown(&self) {
        self.disowned.store(true, Ordering::Relaxed);
    }

    pub(crate) fn rename(&mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        path.clone_into(&mut self.path);
        Ok(())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !*self.disowned.get_mut() && identity(&self.path).is_ok_and(|present| present == self.identity) {
            // what cannot be removed is replaced by the next start
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Listens at `path`. A socket that is there already is replaced if nobody listens at it: its owner was killed.
///
/// # Errors
/// `AddrInUse` if somebody does, or if something other than a socket is there; else what the system says.
pub(crate) fn listen(path: &Path, mode: u32, backlog: i32) -> io::Result<(UnixListener, SocketFile)> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("/"));
    // Of two that start at a time the second waits, and then finds that the first listens.
    let directory = lock(parent)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    remove_if_stale(path)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::of(path)?;
    // Nobody can connect before `listen`, so nobody gets in under the mode that the umask made.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(backlog)?;
    drop(directory);
    Ok((UnixListener::from_std(socket.into())?, file))
}

/// Keeps other starting proxies away from a directory until it is dropped.
fn lock(directory: &Path) -> io::Result<File> {
    /// A start takes milliseconds; whoever locks longer is none.
    const TRIES: u32 = 200;
    let file = File::open(directory)?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "the directory of the socket is locked by somebody else"))
}

fn remove_if_stale(path: &Path) -> io::Result<()> {
    let in_use = |text| Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => return in_use("what is there is no socket"),
        Ok(_) => {}
    }
    // Without waiting: a listener whose queue is full would make a blocking connect wait, and is one all the same.
    let probe = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(()) | Err(_) => in_use("somebody listens there already"),
    }
}
