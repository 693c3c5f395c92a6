//! A proxy's system calls: counted by the kernel for `perf`, or else by `strace`, which slows the proxy down.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

/// What counts system calls on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracer {
    /// `perf stat -e raw_syscalls:sys_enter`
    Perf,
    /// `strace -f -c`
    Strace,
}

const EVENT: &str = "raw_syscalls:sys_enter";

impl Tracer {
    /// The first that works here; else why none does.
    pub(crate) fn find() -> Result<Self, String> {
        let works = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            let output = command.args(arguments).arg("true").stdin(Stdio::null()).output();
            output.is_ok_and(|output| {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                output.status.success() && !said.contains("not supported") && !said.contains("not counted")
            })
        };
        if works("perf", &["stat", "-x,", "-e", EVENT]) {
            return Ok(Self::Perf);
        }
        if works("strace", &["-f", "-c"]) {
            return Ok(Self::Strace);
        }
        Err(format!("neither perf (with {EVENT}) nor strace works here"))
    }

    /// The name of the program.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Perf => "perf",
            Self::Strace => "strace",
        }
    }

    /// How many system calls the process makes while `work` is done. `folder`: where a file can be put meanwhile.
    ///
    /// # Errors
    /// When the program does not start or says something else, or the work fails.
    pub(crate) fn count(self, pid: u32, folder: &Path, work: impl FnOnce() -> Result<()>) -> Result<u64> {
        let file = folder.join("system-calls.txt");
        let _ = fs::remove_file(&file);
        let mut running = self.attach(pid, &file)?;
        let worked = work();
        lab::signal(running.id(), lab::Signal::SIGINT)?;
        running.wait().context("could not wait for the program that counts")?;
        worked?;
        let text = fs::read_to_string(&file).with_context(|| format!("{} wrote nothing", self.name()))?;
        let count = match self {
            Self::Perf => read_perf(&text),
            Self::Strace => read_strace(&text),
        };
        count.with_context(|| format!("{} says: {}", self.name(), text.trim()))
    }

    /// Starts to count, and returns when it does.
    fn attach(self, pid: u32, file: &Path) -> Result<Child> {
        let mut command = Command::new(self.name());
        match self {
            // A first line of counts shows that it has begun; they go on being added up.
            Self::Perf => command.args(["stat", "-x,", "-e", EVENT, "-o"]),
            Self::Strace => command.args(["-f", "-c", "-o"]),
        };
        command.arg(file).arg("-p").arg(pid.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("could not start {}", self.name()))?;
        if self == Self::Strace {
            let mut line = String::new();
            let errors = child.stderr.take().context("its standard error is ours")?;
            BufReader::new(errors).read_line(&mut line)?;
            if !line.contains("attached") {
                let _ = child.kill();
                let _ = child.wait();
                bail!("strace says: {}", line.trim());
            }
            return Ok(child);
        }
        // It has opened its counters when it waits for the signal that ends it.
        for _ in 0..200 {
            std::thread::sleep(std::time::Duration::from_millis(10));
            ensure!(child.try_wait()?.is_none(), "perf ended");
            if waits(child.id()) {
                return Ok(child);
            }
        }
        Ok(child)
    }
}

/// Whether the process catches SIGINT (bit 1 of the mask), as perf does once it counts, and sleeps.
fn waits(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |label: &str| status.lines().find_map(|line| line.strip_prefix(label)).map(str::trim);
    let caught = field("SigCgt:").and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0);
    let has_counters = fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|files| {
        files.flatten().any(|file| {
            fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy().contains("perf_event"))
        })
    });
    caught & 0b10 != 0 && has_counters && field("State:").is_some_and(|state| state.starts_with('S'))
}

/// The count in `perf stat -x,`: the first field of the line that names the event.
fn read_perf(text: &str) -> Option<u64> {
    text.lines().find(|line| line.contains(EVENT))?.split(',').next()?.parse().ok()
}

/// The count in `strace -c`: the number of calls in the line `total`, its fourth field (the fifth, of errors, may be empty).
fn read_strace(text: &str) -> Option<u64> {
    let total = text.lines().find(|line| line.trim_end().ends_with(" total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_programs_output_is_read() {
        let perf = "# started on Sun Nov 22 08:35:27 2026\n\n29,,raw_syscalls:sys_enter,1013456,100.00,,\n";
        assert_eq!(read_perf(perf), Some(29));
        assert_eq!(read_perf("<not counted>,,raw_syscalls:sys_enter,0,0.00,,\n"), None);
        let strace = "% time     seconds  usecs/call     calls    errors syscall\n\
                      100.00    0.000078           2        29         1 total\n";
        assert_eq!(read_strace(strace), Some(29));
        let without_errors = "100.00    0.000078           2        31           total\n";
        assert_eq!(read_strace(without_errors), Some(31));
        assert_eq!(read_strace(""), None);
    }

    #[test]
    fn a_process_that_writes_makes_system_calls() {
        let Ok(tracer) = Tracer::find() else { return };
        let mut child = Command::new("sh");
        child.args(["-c", "while read -r line; do /bin/true; echo $line; done"]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let folder = std::env::temp_dir().join(format!("pgherd-syscalls-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut output = BufReader::new(output);
        let count = tracer.count(child.id(), &folder, || {
            for _ in 0..10 {
                std::io::Write::write_all(&mut input, b"x\n")?;
                output.read_line(&mut String::new())?;
            }
            Ok(())
        });
        drop(input);
        child.wait().unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert!(count.unwrap() >= 20);
    }
}
