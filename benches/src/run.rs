//! A run on one major: its sections, one after the other.

use crate::backend::{self, Measured};
use crate::bar::NOISE;
use crate::config::{Config, Effort, Section};
use crate::entity::{self, vector, Entity, Kind, Operation, ENTITIES};
use crate::growth::{self, Point};
use crate::report::{Announced, MajorReport};
use crate::server::Server;
use crate::socket::{self, Conditions, Path};
use crate::terminal::{self, Progress};
use crate::world::{self, SCATTER};
use crate::{rival, upkeep};
use anyhow::{bail, Context, Result};
use std::fmt;
use verification::config::Major;
use verification::session::Session;

/// What a run is to do.
#[derive(Debug)]
pub struct Plan {
    /// How much of it.
    pub config: Config,
    /// Sections.
    pub sections: Vec<Section>,
    /// Entities by name; all if there is none.
    pub only: Vec<String>,
    /// Whether it goes on where the machine is too noisy to compare.
    pub anyway: bool,
}

/// The most rows that the disk of a small machine has room for.
const MOST: u32 = 20_000_000;

/// Why a run refuses to compare: the spread of the same function measured twice.
#[derive(Debug)]
pub struct TooNoisy(pub f64);

impl fmt::Display for TooNoisy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the machine is too noisy to compare: the same function measured twice differs by {:.0} %, above {:.0} %; \
             --anyway measures all the same, and judges what is quiet enough",
            self.0 * 100.0,
            NOISE * 100.0
        )
    }
}

impl std::error::Error for TooNoisy {}

type Pair = (&'static Entity, &'static Operation);

impl Plan {
    fn wants(&self, section: Section) -> bool {
        self.sections.contains(&section)
    }

    /// Is an entity asked for?
    fn is_chosen(&self, entity: &Entity) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == entity.name)
    }

    /// Those of the operations that are asked for.
    fn chosen(&self, all: Vec<Pair>) -> Vec<Pair> {
        let chosen = all.into_iter().filter(|(entity, _)| self.is_chosen(entity));
        chosen.collect()
    }

    /// The entities that are asked for, and agents, whose types decide what some lists return.
    fn entities(&self) -> Vec<&'static Entity> {
        let all = ENTITIES.iter().copied();
        all.filter(|entity| self.is_chosen(entity) || entity.name == "agent")
            .collect()
    }

    /// Seconds that this usually takes on one major.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        let sections = self
            .sections
            .iter()
            .map(|&section| self.config.seconds(section));
        20.0 + self.filled() + sections.sum::<f64>()
    }

    /// Seconds that rows take to be there.
    fn filled(&self) -> f64 {
        let committed = [Section::Socket, Section::Notify, Section::Upkeep];
        let most = self.config.sizes().into_iter().max().unwrap_or(0);
        let rows = self.config.rows;
        let mut seconds = Config::filling(rows);
        if self.wants(Section::Growth) && most > rows {
            let share = self.entities().len() as f64 / ENTITIES.len() as f64;
            seconds += Config::filling(most - rows) * share;
            if committed.iter().any(|&section| self.wants(section)) {
                seconds += Config::filling(rows);
            }
        }
        seconds
    }

    /// Refuses names that no entity has, and numbers of rows that would be measured nowhere.
    ///
    /// # Errors
    /// Which one, and what there is.
    pub fn check(&self) -> Result<()> {
        let most = self.config.most;
        if most != 0 {
            let sizes = Config {
                most: 0,
                ..self.config
            }
            .sizes();
            let least = sizes.into_iter().max().unwrap_or(0) + 1;
            let allowed = least..=MOST;
            if !allowed.contains(&most)
                || most.is_multiple_of(SCATTER)
                || !self.wants(Section::Growth)
            {
                bail!(
                    "--most is for the section growth, a number from {least} to {MOST} that is no multiple of {SCATTER}"
                );
            }
        }
        let names: Vec<&str> = ENTITIES.iter().map(|entity| entity.name).collect();
        match self
            .only
            .iter()
            .find(|name| !names.contains(&name.as_str()))
        {
            Some(name) => bail!("no entity {name:?}: there are {}", names.join(", ")),
            None => Ok(()),
        }
    }

    /// Measures one major.
    ///
    /// What is found until something fails is kept in `found`.
    ///
    /// # Errors
    /// When a statement fails, or the machine is too noisy to compare.
    pub fn run(
        &self,
        major: Major,
        progress: &mut Progress,
        found: &mut MajorReport,
    ) -> Result<()> {
        progress.doing(&format!("PostgreSQL {major}: starting"));
        found.major = major;
        let server = Server::start(major)?;
        found.version.clone_from(&server.version);
        found.image = server.image();
        println!("\n{}", found.version);
        let mut session = fresh(&server)?;
        progress.done(20.0);
        found.settings = server.settings()?;
        let mut filled = 0;
        let chosen = self.entities();
        let mut points: Vec<(Pair, Vec<Point>)> = self
            .chosen(growth::operations())
            .into_iter()
            .map(|pair| (pair, Vec::new()))
            .collect();
        for size in self.config.sizes() {
            let backend = size == self.config.rows;
            if !backend && !self.wants(Section::Growth) {
                continue;
            }
            let wanted = if size > self.config.rows {
                &chosen[..]
            } else {
                &ENTITIES[..]
            };
            filled = add(&mut session, wanted, (filled, size), progress)?;
            if backend {
                self.check_noise(&mut session)?;
            }
            // Before the races, which leave indexes as many updates do.
            if self.wants(Section::Growth) {
                self.grow(&mut session, size, progress, &mut points)?;
            }
            if backend && self.wants(Section::Backend) {
                self.backend(&mut session, progress, found)?;
            }
        }
        if self.wants(Section::Growth) {
            for ((entity, operation), points) in points {
                let series = growth::series(&mut session, entity, operation, points)?;
                found.growth.push(series);
            }
            println!("\n{}", terminal::growth(&found.growth));
        }
        let committed = [Section::Socket, Section::Notify, Section::Upkeep];
        if committed.iter().any(|&section| self.wants(section)) {
            if filled != self.config.rows {
                drop(session);
                session = fresh(&server)?;
                add(&mut session, &ENTITIES, (0, self.config.rows), progress)?;
            }
            self.committed(&server, &mut session, progress, found)?;
        }
        drop(session);
        if self.wants(Section::Vectors) {
            self.vectors(&server, progress, found)?;
        }
        Ok(())
    }

    /// In a database of its own, with HNSW indexes.
    fn vectors(
        &self,
        server: &Server,
        progress: &mut Progress,
        found: &mut MajorReport,
    ) -> Result<()> {
        let chosen = self.chosen(vector::operations());
        if chosen.is_empty() {
            return Ok(());
        }
        let config = self.config.with_vectors();
        progress.doing(&format!("{} rows with vectors", config.rows));
        server.fresh()?;
        let mut session = furnished(server, &vector::operations())?;
        world::fill(&mut session, &ENTITIES, 0, config.rows)?;
        for statement in vector::fill_embeddings() {
            session.batch(statement)?;
        }
        println!("\n{}", terminal::heading());
        let share = config.seconds(Section::Vectors) / chosen.len() as f64;
        for &pair in &chosen {
            let measured = race(&mut session, pair, &config, share, progress)?;
            found.vectors.push(measured);
        }
        Ok(())
    }

    /// Refuses to go on where the same thing measured twice differs, each time that it looks: a
    /// disturbance that has passed is none.
    fn check_noise(&self, session: &mut Session) -> Result<()> {
        const LOOKS: u32 = 3;
        let mut noise = 0.0;
        for _ in 0..LOOKS {
            noise = self.noise(session)?;
            println!("noise: {:.1} % between two runs of the same", noise * 100.0);
            if self.anyway || noise <= NOISE {
                return Ok(());
            }
        }
        Err(TooNoisy(noise).into())
    }

    /// How far the same thing measured twice differs: a get, a list or a lock, since what disturbs
    /// need not disturb all of them. (Of these, none leaves anything that growth would meet.)
    fn noise(&self, session: &mut Session) -> Result<f64> {
        let config = Config {
            pairs: Config::of(Effort::Full).pairs,
            ..self.config
        };
        let mut noise = 0.0;
        for kind in [Kind::Get, Kind::List, Kind::Lock] {
            let all = entity::operations();
            let first = all
                .into_iter()
                .find(|(_, operation)| operation.kind == kind);
            if let Some((entity, operation)) = first {
                let found = backend::measure(session, entity, operation, &config)?.noise();
                if found.is_nan() || found > noise {
                    noise = found;
                }
            }
        }
        Ok(noise)
    }

    fn backend(
        &self,
        session: &mut Session,
        progress: &mut Progress,
        found: &mut MajorReport,
    ) -> Result<()> {
        let chosen = self.chosen(entity::operations());
        println!("\n{}", terminal::heading());
        let share = self.config.seconds(Section::Backend) / chosen.len() as f64;
        for &pair in &chosen {
            let measured = race(session, pair, &self.config, share, progress)?;
            found.backend.push(measured);
        }
        Ok(())
    }

    fn grow(
        &self,
        session: &mut Session,
        size: u32,
        progress: &mut Progress,
        points: &mut [(Pair, Vec<Point>)],
    ) -> Result<()> {
        let share = self.config.seconds(Section::Growth) / (3 * points.len().max(1)) as f64;
        for ((entity, operation), points) in points.iter_mut() {
            let name = format!("{} {} among {size} rows", entity.name, operation.label());
            progress.doing(&name);
            points
                .push(growth::point(session, entity, operation, size, &self.config).context(name)?);
            progress.done(share);
        }
        Ok(())
    }

    /// The sections that commit.
    fn committed(
        &self,
        server: &Server,
        session: &mut Session,
        progress: &mut Progress,
        found: &mut MajorReport,
    ) -> Result<()> {
        if self.wants(Section::Socket) {
            self.socket(server, session, progress, found)?;
        }
        if self.wants(Section::Notify) {
            self.notify(server, session, progress, found)?;
        }
        // Last, since it leaves the tables of two entities larger.
        if self.wants(Section::Upkeep) {
            progress.doing("many updates with autovacuum");
            found.upkeep = upkeep::measure(server, session, &self.config)?;
            progress.done(self.config.seconds(Section::Upkeep));
            println!("\n{}", terminal::upkeep(&found.upkeep));
        }
        Ok(())
    }

    fn socket(
        &self,
        server: &Server,
        session: &mut Session,
        progress: &mut Progress,
        found: &mut MajorReport,
    ) -> Result<()> {
        let mut wanted = Vec::new();
        for (entity, operation) in self.chosen(socket::operations()) {
            for conditions in self.config.conditions() {
                wanted.push((entity, operation, Path::Function, conditions));
            }
            // The message has no defaults: only functions that are given every argument.
            if matches!(operation.kind, Kind::Get | Kind::Hot | Kind::Update) {
                for conditions in self.config.conditions() {
                    if !conditions.transaction && !conditions.synchronous {
                        wanted.push((entity, operation, Path::Message, conditions));
                    }
                }
            }
        }
        println!("\n{}", terminal::socket_heading());
        let share = self.config.seconds(Section::Socket) / wanted.len().max(1) as f64;
        for (entity, operation, path, conditions) in wanted {
            let name = format!("{} {}, {conditions}", entity.name, operation.label());
            progress.doing(&name);
            let target = server.target();
            let compared = socket::compare(
                &target,
                session,
                (entity, operation),
                path,
                conditions,
                &self.config,
            )
            .context(name)?;
            progress.done(share);
            println!("{}", terminal::socket_line(&compared));
            found.socket.push(compared);
        }
        Ok(())
    }

    fn notify(
        &self,
        server: &Server,
        session: &mut Session,
        progress: &mut Progress,
        found: &mut MajorReport,
    ) -> Result<()> {
        let send = socket::operations()
            .into_iter()
            .find(|(entity, _)| entity.name == "message");
        let Some(send) = send else { return Ok(()) };
        for connections in [1, 8, 32] {
            progress.doing(&format!("messages announced by {connections} connections"));
            let mut rates = |notify| -> Result<socket::Compared> {
                let conditions = Conditions {
                    connections,
                    transaction: false,
                    synchronous: false,
                    notify,
                };
                let target = server.target();
                socket::compare(
                    &target,
                    session,
                    send,
                    Path::Function,
                    conditions,
                    &self.config,
                )
            };
            let (off, on) = (rates(false)?, rates(true)?);
            found.notify.push(Announced::of(connections, &off, &on));
            progress.done(self.config.seconds(Section::Notify) / 3.0);
        }
        println!("\n{}", terminal::notify(&found.notify));
        Ok(())
    }
}

/// Measures one operation, and says what came of it.
fn race(
    session: &mut Session,
    (entity, operation): Pair,
    config: &Config,
    share: f64,
    progress: &mut Progress,
) -> Result<Measured> {
    let name = format!("{} {}", entity.name, operation.label());
    progress.doing(&name);
    let measured = backend::measure(session, entity, operation, config).context(name)?;
    progress.done(share);
    println!("{}", terminal::line(&measured));
    Ok(measured)
}

/// A session in a new database with the rivals, and no rows.
fn fresh(server: &Server) -> Result<Session> {
    server.fresh()?;
    furnished(server, &entity::operations())
}

/// A session with the rivals of these operations.
fn furnished(server: &Server, operations: &[Pair]) -> Result<Session> {
    let mut session = server.connect()?;
    world::prepare(&mut session)?;
    rival::declare(&mut session, operations)?;
    session.batch(backend::SESSION)?;
    Ok(session)
}

/// Makes it so many rows of each of these entities.
fn add(
    session: &mut Session,
    entities: &[&Entity],
    (from, to): (u32, u32),
    progress: &mut Progress,
) -> Result<u32> {
    progress.doing(&format!("{to} rows of each entity"));
    world::fill(session, entities, from, to)?;
    let share = entities.len() as f64 / ENTITIES.len() as f64;
    progress.done(Config::filling(to - from) * share);
    Ok(to)
}
