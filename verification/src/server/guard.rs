//! Cleaning up even after a crash: a small shell waits for the end of a pipe
//! that only this process holds open. However this process ends, the pipe
//! closes and the shell does its work.

use anyhow::{Context, Result};
use std::process::{Child, Command, Stdio};

/// Runs a command when it is dropped, or when the process dies.
pub struct Guard {
    shell: Child,
}

impl Guard {
    /// Arms the guard with a shell command and its arguments (`$1`, `$2`, …).
    ///
    /// # Errors
    /// When there is no shell.
    pub fn new(script: &str, args: &[&str]) -> Result<Self> {
        let shell = Command::new("sh")
            // A session of its own: a Ctrl-C at the terminal must not reach it.
            .args([
                "-c",
                "exec 3<&0 </dev/null; trap '' INT HUP; cat <&3 >/dev/null; eval \"$0\"",
                script,
            ])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start a shell to clean up")?;
        Ok(Self { shell })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Nothing to report to: the work is best effort.
        let _ = self.shell.wait();
    }
}
