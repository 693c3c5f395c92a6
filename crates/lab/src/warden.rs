use std::{
    fs::File,
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

/// Waits for the end of its input, which comes when the owner is done or dead, and then ends what is left and works
/// inside the directory: first in good order what pid files name (a number alone may have been given to another process
/// since), then whatever else the cluster runs. Nobody's shell or editor is touched. Last, unless told to keep it, it
/// removes the directory, and before that the few bytes of System V shared memory by which a server that was killed
/// and not started again guarded its data directory (line 7 of postmaster.pid).
const SCRIPT: &str = r#"
directory=$1
end=remove
while read -r line; do end=$line; done

works_inside() {
    case $(readlink "/proc/$1/cwd" 2>/dev/null) in
    "$directory" | "$directory"/*) return 0 ;;
    esac
    return 1
}

alive=
for file in "$directory"/*/postmaster.pid "$directory"/*.pid; do
    { read -r pid <"$file"; } 2>/dev/null || continue
    works_inside "$pid" || continue
    kill -QUIT "$pid"
    kill -CONT "$pid"
    alive="$alive $pid"
done

tries=0
while [ -n "$alive" ] && [ $tries -lt 50 ]; do
    sleep 0.1
    tries=$((tries + 1))
    left=
    for pid in $alive; do
        if works_inside "$pid"; then left="$left $pid"; fi
    done
    alive=$left
done
for pid in $alive; do kill -KILL "$pid"; done

tries=0
found=yes
while [ -n "$found" ] && [ $tries -lt 50 ]; do
    found=
    for process in /proc/[0-9]*; do
        pid=${process#/proc/}
        works_inside "$pid" || continue
        { read -r name <"$process/comm"; } 2>/dev/null || continue
        case $name in
        postgres | initdb | pg_basebackup | pg_rewind | psql | pgherd)
            kill -KILL "$pid"
            found=yes
            ;;
        esac
    done
    if [ -n "$found" ]; then sleep 0.1; fi
    tries=$((tries + 1))
done

if [ "$end" = remove ]; then
    for file in "$directory"/*/postmaster.pid; do
        segment=$(sed -n '7s/.* //p' "$file" 2>/dev/null)
        if [ -n "$segment" ]; then ipcrm -m "$segment"; fi
    done
    rm -rf "$directory"
fi
"#;

/// A shell process that outlives its owner by a moment, so that not even a SIGKILL of the owner leaves servers behind.
/// (The kernel's parent-death signal would need `unsafe`, and follows the thread and not the process.)
#[derive(Debug)]
pub(crate) struct Warden {
    child: Child,
    /// Held by the shell too (as its output, which it never uses): the directory is locked until nothing of the cluster
    /// is left, even if its owner was killed.
    _lock: File,
}

impl Warden {
    /// Posts a warden for `directory`, which it removes in the end unless told to keep it.
    pub(crate) fn post(directory: &Path, keep: bool, lock: File) -> Result<Self> {
        let shared = lock.try_clone().context("could not share the lock of the directory")?;
        let child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "pgherd-warden"])
            .arg(directory)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(shared)
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("could not start /bin/sh")?;
        let mut warden = Self { child, _lock: lock };
        warden.tell_keep(keep)?;
        Ok(warden)
    }

    /// Says what becomes of the directory.
    pub(crate) fn tell_keep(&mut self, keep: bool) -> Result<()> {
        self.tell(if keep { "keep" } else { "remove" })
    }

    fn tell(&mut self, line: &str) -> Result<()> {
        let stdin = self.child.stdin.as_mut().expect("piped when it was spawned, closed only on drop");
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).context("the warden does not listen")
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
