//! The way to the server that has a home: its connections, whom to ask where it is, and what was moved meanwhile.
//!
//! A connection is used by one at a time, because waiting for a disk holds up everybody behind it.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, Value};
use redis_rows::{Address, Group, Route, Stop, Wrong, load_script, not_refused};
use shared::time::Timestamp;

use super::{Counters, CountersError};

/// How long any answer may take: longer than the disk.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How long whoever is asked for the way may take.
const GUIDE_MAX: Duration = Duration::from_secs(1);
/// Connections that are kept for later.
const IDLE_MAX: usize = 16;
/// How often keys that have moved are followed.
const MOVES_MAX: u32 = 4;
/// What is said before each command to a server of a cluster that is being given its keys.
const ASKING: &str = "ASKING";

impl Counters {
    /// Sends commands at once to the server that has a group of homes, wherever it was moved to.
    pub(super) async fn ask(&self, group: Group, commands: &[Cmd]) -> Result<Vec<Value>, CountersError> {
        self.ask_where(group, commands).await.map(|(_, answers)| answers)
    }

    /// The same, and says where it was in the end.
    pub(super) async fn ask_where(
        &self,
        group: Group,
        commands: &[Cmd],
    ) -> Result<(Stop, Vec<Value>), CountersError> {
        let mut stop = self.server(group).await?;
        let mut moves = 0;
        loop {
            let answers = self.visit(&stop, commands).await.and_then(|answers| {
                let elsewhere = |answer| not_refused(answer).err().filter(is_elsewhere);
                answers.iter().find_map(elsewhere).map_or(Ok(answers), |wrong| Err(wrong.into()))
            });
            moves = u32::saturating_add(moves, 1);
            stop = match answers {
                Err(CountersError::Wrong(Wrong::Moved(place))) if moves < MOVES_MAX => {
                    self.route().moved(group, &place, &stop)?;
                    self.server(group).await?
                }
                Err(CountersError::Wrong(Wrong::Asked(place))) if moves < MOVES_MAX => stop.importing(&place),
                Ok(answers) => return Ok((stop, answers)),
                Err(error) => {
                    self.route().failed(&stop);
                    return Err(error);
                }
            };
        }
    }

    /// Sends commands at once over a connection that nobody else uses meanwhile. Where the server does not know the
    /// script, none of them has written anything: it is told, and they are sent again.
    pub(super) async fn visit(&self, stop: &Stop, commands: &[Cmd]) -> Result<Vec<Value>, CountersError> {
        let address = stop.address();
        let is_importing = matches!(stop, Stop::Importing(_));
        let asked = async {
            let mut connection = match self.kept(address) {
                Some(connection) => connection,
                None => self.connect(address).await?,
            };
            let answers = said(&mut connection, commands, is_importing).await?;
            Ok((connection, answers))
        };
        let (connection, answers) = asked.await.inspect_err(|_: &CountersError| {
            // Those that are kept are most likely as dead.
            self.idle().retain(|(of, _)| of != address);
        })?;
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push((address.clone(), connection));
        }
        Ok(answers)
    }

    /// A connection that was kept, if there is one.
    fn kept(&self, address: &Address) -> Option<MultiplexedConnection> {
        let mut idle = self.idle();
        // Those to a server that has nothing any more are of no use.
        let route = self.route();
        idle.retain(|(of, _)| of == address || route.leads_to(of));
        let at = idle.iter().position(|(of, _)| of == address)?;
        Some(idle.swap_remove(at).1)
    }

    /// The server that has a group of homes, as whoever knows the way says.
    pub(super) async fn server(&self, group: Group) -> Result<Stop, CountersError> {
        match self.next(group) {
            Stop::Guide(_) => self.learn(group).await,
            next @ (Stop::Server(_) | Stop::Importing(_)) => Ok(next),
        }
    }

    fn next(&self, group: Group) -> Stop {
        self.route().next(group, self.now())
    }

    /// Asks for the way to a group of homes, one after another of those who may know it.
    pub(super) async fn learn(&self, group: Group) -> Result<Stop, CountersError> {
        let mut asked = 0;
        loop {
            let (next, question, guides) = {
                let route = self.route();
                (route.guide(), route.question(), route.guides())
            };
            let Some(guide) = next else { return Ok(self.next(group)) };
            let answered = match tokio::time::timeout(GUIDE_MAX, self.question(&guide, &question)).await {
                Ok(answered) => answered,
                Err(_) => Err(Wrong::Late(guide.host()).into()),
            };
            let heard = match answered {
                Ok(answers) => {
                    self.route().heard(&guide, &answers, group, self.now()).map_err(CountersError::from)
                }
                Err(error) => {
                    self.route().failed(&Stop::Guide(guide));
                    Err(error)
                }
            };
            asked = usize::saturating_add(asked, 1);
            match heard {
                Ok(()) => return Ok(self.next(group)),
                Err(error) if asked >= guides => return Err(error),
                Err(_) => {}
            }
        }
    }

    async fn question(&self, guide: &Address, question: &[Cmd]) -> Result<Vec<Value>, CountersError> {
        let client = Client::open(guide.place()?)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&patience()).await?;
        send(&mut connection, question).await
    }

    async fn connect(&self, address: &Address) -> Result<MultiplexedConnection, CountersError> {
        let client = Client::open(address.place()?)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&patience()).await?;
        let greeting = address.greeting();
        if !greeting.is_empty() {
            send(&mut connection, &greeting).await?.iter().try_for_each(not_refused)?;
        }
        Ok(connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Address, MultiplexedConnection)>> {
        self.parts.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn route(&self) -> MutexGuard<'_, Route> {
        self.parts.route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moments of this process; nobody else hears of them.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.parts.began.elapsed_ms())
    }
}

fn patience() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_MAX))
        .set_response_timeout(Some(ANSWER_MAX))
}

async fn said(
    connection: &mut MultiplexedConnection,
    commands: &[Cmd],
    is_importing: bool,
) -> Result<Vec<Value>, CountersError> {
    if is_importing {
        let asking = |command: &Cmd| [redis::cmd(ASKING), command.clone()];
        let commands: Vec<Cmd> = commands.iter().flat_map(asking).collect();
        let answers = scripted(connection, &commands, 1).await?;
        return Ok(answers.into_iter().skip(1).step_by(2).collect());
    }
    scripted(connection, commands, 0).await
}

/// Sends them again if the answer at that place says that the script is not known.
async fn scripted(
    connection: &mut MultiplexedConnection,
    commands: &[Cmd],
    first: usize,
) -> Result<Vec<Value>, CountersError> {
    let answers = send(connection, commands).await?;
    if !answers.get(first).is_some_and(is_no_script) {
        return Ok(answers);
    }
    send(connection, &[load_script()]).await?;
    send(connection, commands).await
}

/// Whether the server has not what it was asked for.
fn is_elsewhere(wrong: &Wrong) -> bool {
    matches!(wrong, Wrong::Elsewhere(_) | Wrong::Moved(_) | Wrong::Asked(_) | Wrong::Down(_))
}

async fn send(connection: &mut MultiplexedConnection, commands: &[Cmd]) -> Result<Vec<Value>, CountersError> {
    let mut pipeline = Pipeline::with_capacity(commands.len());
    for command in commands {
        pipeline.add_command(command.clone());
    }
    Ok(connection.send_packed_commands(&pipeline, 0, commands.len()).await?)
}

fn is_no_script(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(redis::ServerErrorKind::NoScript))
}
