//! Threads and channels behind [`run`].

use super::{Answer, Event, Script, Transcript};
use crate::session::{Failure, Session, Target};
use anyhow::{anyhow, bail, Context, Result};
use std::sync::mpsc::{channel, Receiver, Sender, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How the driver behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a step may take, waiting included, before it is cancelled.
    pub patience: Duration,
    /// How often a silent session is asked about.
    pub poll: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(30),
            poll: Duration::from_millis(2),
        }
    }
}

/// A session in a thread of its own.
struct Worker {
    pid: i32,
    orders: Sender<String>,
    answers: Receiver<Answer>,
    /// The step it is busy with.
    busy: Option<usize>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(target: &Target, setup: &[String]) -> Result<Self> {
        let mut session = Session::connect(target)?;
        for sql in setup {
            session.batch(sql)?;
        }
        let pid = session.pid()?;
        let (orders, inbox) = channel::<String>();
        let (outbox, answers) = channel();
        let thread = std::thread::spawn(move || {
            for sql in inbox {
                let answer = match session.run(&sql) {
                    Ok(replies) => Answer::Replies(replies),
                    Err(Failure::Error(error)) => Answer::Error(error),
                    Err(Failure::Lost(why)) => Answer::Lost(why),
                };
                if outbox.send(answer).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            pid,
            orders,
            answers,
            busy: None,
            thread: Some(thread),
        })
    }
}

/// Runs a script; sessions are rolled back and closed afterwards.
///
/// # Errors
/// When a session cannot be opened, its setup fails, or a step cannot even be cancelled.
pub fn run(target: &Target, script: &Script, options: Options) -> Result<Transcript> {
    let mut control = Session::connect(target)?;
    let mut workers = Vec::new();
    for setup in &script.setup {
        workers.push(Worker::start(target, setup).context("a session's setup")?);
    }
    let mut stage = Stage {
        control: &mut control,
        workers,
        transcript: Transcript::default(),
        options,
    };
    for (number, step) in script.steps.iter().enumerate() {
        if step.session >= stage.workers.len() {
            bail!(
                "step {number} names session {}, which has no setup",
                step.session
            );
        }
        stage.start(number, step.session, &step.sql)?;
    }
    stage.finish()?;
    let Stage {
        workers,
        transcript,
        ..
    } = stage;
    for mut worker in workers {
        drop(worker.orders);
        if let Some(thread) = worker.thread.take() {
            let _ = thread.join();
        }
    }
    Ok(transcript)
}

struct Stage<'a> {
    control: &'a mut Session,
    workers: Vec<Worker>,
    transcript: Transcript,
    options: Options,
}

impl Stage<'_> {
    fn start(&mut self, step: usize, session: usize, sql: &str) -> Result<()> {
        // A session that still waits must be let go by somebody first.
        self.await_end(session)?;
        self.workers[session].busy = Some(step);
        self.workers[session]
            .orders
            .send(sql.to_owned())
            .map_err(|_| anyhow!("session {session} is gone"))?;
        if !self.settle(session)? {
            self.transcript.events.push(Event {
                step,
                session,
                answer: None,
            });
        }
        self.settle_others()
    }

    /// Waits until a busy session has answered (true) or is blocked (false).
    fn settle(&mut self, session: usize) -> Result<bool> {
        let began = Instant::now();
        loop {
            if self.collect(session)? {
                return Ok(true);
            }
            if self.is_blocked(session)? {
                // It may have been let go in between.
                return self.collect(session);
            }
            if began.elapsed() > self.options.patience {
                self.cancel(session)?;
            }
            std::thread::sleep(self.options.poll);
        }
    }

    /// What one session did may have let others go on.
    fn settle_others(&mut self) -> Result<()> {
        for session in 0..self.workers.len() {
            if self.workers[session].busy.is_some() {
                self.settle(session)?;
            }
        }
        Ok(())
    }

    fn await_end(&mut self, session: usize) -> Result<()> {
        let began = Instant::now();
        let mut cancelled = false;
        while self.workers[session].busy.is_some() && !self.collect(session)? {
            if began.elapsed() > self.options.patience {
                if cancelled {
                    bail!("session {session} does not even end when it is cancelled");
                }
                self.cancel(session)?;
                cancelled = true;
            }
            std::thread::sleep(self.options.poll);
        }
        Ok(())
    }

    /// Takes the answer if there is one.
    fn collect(&mut self, session: usize) -> Result<bool> {
        let worker = &mut self.workers[session];
        let Some(step) = worker.busy else {
            return Ok(true);
        };
        match worker.answers.try_recv() {
            Ok(answer) => {
                worker.busy = None;
                self.transcript.events.push(Event {
                    step,
                    session,
                    answer: Some(answer),
                });
                Ok(true)
            }
            Err(TryRecvError::Empty) => Ok(false),
            Err(TryRecvError::Disconnected) => bail!("the thread of session {session} is gone"),
        }
    }

    fn is_blocked(&mut self, session: usize) -> Result<bool> {
        let pids: Vec<String> = self
            .workers
            .iter()
            .map(|worker| worker.pid.to_string())
            .collect();
        let sql = format!(
            "SELECT pg_isolation_test_session_is_blocked({}, '{{{}}}')",
            self.workers[session].pid,
            pids.join(",")
        );
        Ok(self.control.value(&sql)?.as_deref() == Some("t"))
    }

    fn cancel(&mut self, session: usize) -> Result<()> {
        self.control.batch(&format!(
            "SELECT pg_cancel_backend({})",
            self.workers[session].pid
        ))
    }

    fn finish(&mut self) -> Result<()> {
        for session in 0..self.workers.len() {
            self.await_end(session)?;
        }
        Ok(())
    }
}
