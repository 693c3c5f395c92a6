//! Cancel requests for clients of other processes.

use std::{fs, future::Future, io, path::PathBuf, pin::Pin, sync::Arc};

use session::Elsewhere;
use tokio::{
    io::AsyncWriteExt,
    net::UnixStream,
    sync::{Semaphore, watch},
};

use super::{CANCEL, read_line_soon};

/// Requests that are passed on at a time; further ones wait.
const AT_A_TIME: usize = 8;

/// The doors of all processes beside one path, but this process's own.
pub(crate) struct OtherDoors {
    path: PathBuf,
    own: Arc<watch::Sender<PathBuf>>,
    places: Semaphore,
}

impl OtherDoors {
    /// `own`: where this process's door is at present.
    pub(crate) fn new(path: PathBuf, own: Arc<watch::Sender<PathBuf>>) -> Self {
        Self { path, own, places: Semaphore::new(AT_A_TIME) }
    }

    fn all(&self) -> Vec<PathBuf> {
        let own = self.own.borrow().clone();
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Vec::new();
        };
        let name = name.to_string_lossy();
        let is_door = |other: &str| {
            let behind = other.strip_prefix(&*name);
            behind.is_some_and(|rest| {
                rest.is_empty() || rest.strip_prefix('.').is_some_and(|id| id.parse::<u32>().is_ok())
            })
        };
        let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
        let doors = files.flatten().filter(|file| is_door(&file.file_name().to_string_lossy()));
        doors.map(|file| file.path()).filter(|path| *path != own).collect()
    }
}

impl Elsewhere for OtherDoors {
    fn cancel<'a>(&'a self, pid: u32, secret: &'a [u8]) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let Ok(_place) = self.places.acquire().await else { return };
            let key: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            let request = format!("{CANCEL}{pid} {key}\n");
            for door in self.all() {
                match pass_on(&door, &request).await {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && door != self.path => {
                        let _ = fs::remove_file(&door); // its process was killed
                    }
                    Err(error) => {
                        tracing::debug!(door = %door.display(), %error, "a cancel was not passed on")
                    }
                }
            }
        })
    }
}

async fn pass_on(door: &std::path::Path, request: &str) -> io::Result<()> {
    let mut stream = UnixStream::connect(door).await?;
    if !conn::is_own_user(&stream)? {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    stream.write_all(request.as_bytes()).await?;
    read_line_soon(&mut stream).await.map(drop)
}
