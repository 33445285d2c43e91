//! A small client of the wire protocol: blocking, one statement a round trip, everything as
//! text. A library's client would measure its own runtime too, and none sends the
//! function-call message.

use anyhow::{bail, Context, Result};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256, SCRAM_SHA_256};
use std::io::{Read, Write};
use std::net::TcpStream;
use verification::session::Target;

/// A connection.
pub struct Wire {
    stream: TcpStream,
    /// What is to be sent.
    out: Vec<u8>,
    /// What was received and not looked at, from `at`.
    buffer: Vec<u8>,
    at: usize,
}

/// Parameters of a call, `None` for NULL.
pub type Values = Vec<Option<String>>;

impl Wire {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// When the server refuses, or wants another authentication than SCRAM or none.
    pub fn connect(target: &Target) -> Result<Self> {
        let stream = TcpStream::connect((target.host.as_str(), target.port))?;
        stream.set_nodelay(true)?;
        let mut wire = Self {
            stream,
            out: Vec::new(),
            buffer: Vec::new(),
            at: 0,
        };
        let mut body = 196_608_i32.to_be_bytes().to_vec();
        for text in ["user", &target.user, "database", &target.database, ""] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
        let length = i32::try_from(body.len() + 4)?;
        wire.out.extend_from_slice(&length.to_be_bytes());
        wire.out.extend_from_slice(&body);
        wire.flush()?;
        wire.authenticate(target.password.as_deref().unwrap_or_default())?;
        wire.until_ready()?;
        Ok(wire)
    }

    fn authenticate(&mut self, password: &str) -> Result<()> {
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let (tag, body) = self.receive()?;
            if tag != b'R' {
                bail!("no authentication: {}", error_text(&body));
            }
            let (kind, data) = body.split_at(4);
            match kind {
                [0, 0, 0, 0] => return Ok(()),
                [0, 0, 0, 10] => {
                    let first = scram.message().to_vec();
                    let length = i32::try_from(first.len())?;
                    self.message(b'p', |out| {
                        out.extend_from_slice(SCRAM_SHA_256.as_bytes());
                        out.push(0);
                        out.extend_from_slice(&length.to_be_bytes());
                        out.extend_from_slice(&first);
                    });
                }
                [0, 0, 0, 11] => {
                    scram.update(data)?;
                    let answer = scram.message().to_vec();
                    self.message(b'p', |out| out.extend_from_slice(&answer));
                }
                [0, 0, 0, 12] => scram.finish(data)?,
                other => bail!("authentication {other:?} is not known here"),
            }
            self.flush()?;
        }
    }

    /// Runs statements whose answers do not matter.
    ///
    /// # Errors
    /// When one fails.
    pub fn run(&mut self, sql: &str) -> Result<()> {
        self.message(b'Q', |out| {
            out.extend_from_slice(sql.as_bytes());
            out.push(0);
        });
        self.flush()?;
        self.until_ready().with_context(|| sql.to_owned())
    }

    /// Prepares a statement under a name.
    ///
    /// # Errors
    /// When it cannot be parsed.
    pub fn prepare(&mut self, name: &str, sql: &str, types: &[u32]) -> Result<()> {
        self.message(b'P', |out| {
            for text in [name, sql] {
                out.extend_from_slice(text.as_bytes());
                out.push(0);
            }
            out.extend_from_slice(&(types.len() as u16).to_be_bytes());
            for oid in types {
                out.extend_from_slice(&oid.to_be_bytes());
            }
        });
        self.message(b'S', |_| {});
        self.flush()?;
        self.until_ready().with_context(|| sql.to_owned())
    }

    /// Executes a prepared statement: Bind, Execute and Sync in one message to the server.
    ///
    /// # Errors
    /// When it fails.
    pub fn execute(&mut self, name: &str, values: &[Option<String>]) -> Result<()> {
        self.message(b'B', |out| {
            out.push(0);
            out.extend_from_slice(name.as_bytes());
            // All parameters and results as text.
            out.extend_from_slice(&[0, 0, 0]);
            put_values(out, values);
            out.extend_from_slice(&[0, 0]);
        });
        self.message(b'E', |out| out.extend_from_slice(&[0, 0, 0, 0, 0]));
        self.message(b'S', |_| {});
        self.flush()?;
        self.until_ready()
    }

    /// Calls a function by its OID with the function-call message: no statement at all.
    ///
    /// # Errors
    /// When it fails.
    pub fn call(&mut self, function: u32, values: &[Option<String>]) -> Result<()> {
        self.message(b'F', |out| {
            out.extend_from_slice(&function.to_be_bytes());
            out.extend_from_slice(&[0, 0]);
            put_values(out, values);
            out.extend_from_slice(&[0, 0]);
        });
        self.flush()?;
        self.until_ready()
    }

    fn message(&mut self, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
        self.out.push(tag);
        let at = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        body(&mut self.out);
        let length = (self.out.len() - at) as u32;
        self.out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Reads until the server is ready for the next message.
    fn until_ready(&mut self) -> Result<()> {
        let mut error = None;
        loop {
            let (tag, body) = self.receive()?;
            match tag {
                b'Z' => break,
                b'E' => error = Some(error_text(&body)),
                _ => {}
            }
        }
        match error {
            Some(text) => bail!("{text}"),
            None => Ok(()),
        }
    }

    fn receive(&mut self) -> Result<(u8, Vec<u8>)> {
        self.fill(5)?;
        let head = &self.buffer[self.at..self.at + 5];
        let (tag, length) = (head[0], [head[1], head[2], head[3], head[4]]);
        let length = u32::from_be_bytes(length) as usize;
        self.fill(1 + length)?;
        let body = self.buffer[self.at + 5..self.at + 1 + length].to_vec();
        self.at += 1 + length;
        Ok((tag, body))
    }

    /// Reads until so many bytes are there.
    fn fill(&mut self, wanted: usize) -> Result<()> {
        if self.at == self.buffer.len() {
            self.buffer.clear();
            self.at = 0;
        }
        let mut chunk = [0; 16_384];
        while self.buffer.len() - self.at < wanted {
            let read = self.stream.read(&mut chunk)?;
            if read == 0 {
                bail!("the server closed the connection");
            }
            self.buffer.extend_from_slice(&chunk[..read]);
        }
        Ok(())
    }
}

fn put_values(out: &mut Vec<u8>, values: &[Option<String>]) {
    out.extend_from_slice(&(values.len() as u16).to_be_bytes());
    for value in values {
        match value {
            None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(text) => {
                out.extend_from_slice(&(text.len() as u32).to_be_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// The primary message of an ErrorResponse.
fn error_text(body: &[u8]) -> String {
    body.split(|&byte| byte == 0)
        .find_map(|field| field.strip_prefix(b"M"))
        .map_or_else(
            || "an error".to_owned(),
            |m| String::from_utf8_lossy(m).into_owned(),
        )
}
