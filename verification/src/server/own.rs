//! A server of one test's own. Its data is on disk, so that it can be killed
//! and started again, and a standby can follow it.

use super::container::{self, Data};
use super::{complaints, database, prove_assertions, url, Flavour, Provider};
use crate::config::Major;
use crate::session::{Session, Target};
use anyhow::{bail, Context, Result};
use std::process::{Command, Stdio};
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage, ImageExt};

/// A server that nobody else uses; it goes when this value goes.
pub struct Own {
    major: Major,
    image: (String, String),
    password: String,
    settings: Vec<String>,
    container: Container<GenericImage>,
    target: Target,
    /// Complaints of the log that a test has taken.
    taken: usize,
}

impl Own {
    /// Starts a server with further settings (`name=value`) and prepares its
    /// database `postgres`. None where there are no containers: the servers of
    /// other providers are not for killing.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(major: Major, settings: &[&str]) -> Result<Option<Self>> {
        Self::start_with(major, Flavour::Release, settings)
    }

    /// As [`Own::start`], of another build of the extension.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_with(major: Major, flavour: Flavour, settings: &[&str]) -> Result<Option<Self>> {
        if url::configured(major).is_some() {
            return Ok(None);
        }
        let Provider::Container { .. } = Provider::choose()? else {
            return Ok(None);
        };
        let image = container::image(major, flavour)?;
        let password = uuid::Uuid::new_v4().simple().to_string();
        let mut all = container::settings(major);
        for setting in settings {
            all.extend(["-c".to_owned(), (*setting).to_owned()]);
        }
        let request = container::request(&image, Data::Disk, &password, all.clone());
        let container = container::of_this_process(request).start()?;
        let target = reach(&container, &password)?;
        let own = Self {
            major,
            image,
            password,
            settings: all,
            container,
            target,
            taken: 0,
        };
        let mut session = own.connect()?;
        prove_assertions(&mut session)?;
        database::furnish(&mut session)?;
        drop(session);
        Ok(Some(own))
    }

    /// Where it is now; another place after each [`Own::restart`].
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The image it runs.
    #[must_use]
    pub fn image(&self) -> String {
        format!("{}:{}", self.image.0, self.image.1)
    }

    /// A new session, a superuser's.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn connect(&self) -> Result<Session> {
        Session::connect(&self.target)
    }

    /// The server's log.
    #[must_use]
    pub fn log(&self) -> String {
        container::log_of(self.container.id())
    }

    /// What the log complains of, see [`complaints`], since this was last asked.
    /// Who asks answers for it: what nobody takes fails the run.
    pub fn complaints(&mut self) -> Vec<String> {
        let all = complaints::complaints(&self.log()).into_iter();
        let fresh: Vec<String> = all.skip(self.taken).collect();
        self.taken += fresh.len();
        fresh
    }

    /// Kills every process of the server with signal 9, at once, and waits for
    /// the last of them to be gone.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn kill(&self) -> Result<()> {
        docker(&["kill", "--signal", "KILL", self.container.id()])?;
        docker(&["wait", self.container.id()])
    }

    /// Starts the server that was killed, and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn restart(&mut self) -> Result<()> {
        docker(&["start", self.container.id()])?;
        self.target = reach(&self.container, &self.password)?;
        Ok(())
    }

    /// Waits until the server answers, which restarts its processes by itself
    /// after one of them was killed.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait(&self) -> Result<()> {
        container::wait_until_ready(&self.target, None).map(drop)
    }

    /// A streaming standby in a second container, made from a base backup.
    ///
    /// # Errors
    /// When it does not start.
    pub fn standby(&self) -> Result<Self> {
        let Some(address) = container::bridge_of(&self.container) else {
            bail!("the container has no address in the engine's network");
        };
        self.connect()?.batch(
            "DO $$ BEGIN EXECUTE format($f$COPY (SELECT 'host replication all all scram-sha-256') TO PROGRAM %L$f$,
                 'cat >> ' || current_setting('hba_file')); END $$;
             SELECT pg_reload_conf()",
        )?;
        let script = "data=/var/lib/postgresql/data/standby; \
             pg_basebackup --host \"$0\" --username postgres --pgdata $data --write-recovery-conf --wal-method stream \
             --checkpoint fast && exec postgres -D $data \"$@\"";
        let mut command: Vec<String> = ["bash", "-c", script, &address].map(str::to_owned).into();
        // Some settings must not be smaller than the primary's.
        command.extend(self.settings.iter().cloned());
        let request = container::request(&self.image, Data::Memory, &self.password, command)
            .with_user("postgres")
            .with_env_var("PGPASSWORD", self.password.clone());
        let container = container::of_this_process(request).start()?;
        let target = reach(&container, &self.password)?;
        Ok(Self {
            major: self.major,
            image: self.image.clone(),
            password: self.password.clone(),
            settings: self.settings.clone(),
            container,
            target,
            taken: 0,
        })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        for complaint in self.complaints() {
            complaints::keep(self.major, complaint);
        }
    }
}

/// The straightest way to a container.
fn reach(container: &Container<GenericImage>, password: &str) -> Result<Target> {
    let target = container::reach(container, password)?;
    let bridge = container::bridge_of(container);
    Ok(container::straighter(&target, bridge.as_deref()).unwrap_or(target))
}

fn docker(arguments: &[&str]) -> Result<()> {
    let output = Command::new("docker")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("the docker command")?;
    if !output.status.success() {
        bail!(
            "docker {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
