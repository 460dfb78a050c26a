//! Notices when rows become visible: a thread of its own asks the database over and over.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use local::CommandError;
use sqlx::{Connection as _, PgConnection};
use tokio::runtime::Builder;
use uuid::Uuid;

/// Finds the rows that are visible. With `offset 0`, PostgreSQL looks up each id separately, so it uses the index even if
/// it made the plan while the table was empty, unless it has analysed the small table since.
const FIND: &str = "select wanted from unnest($1::uuid[]) wanted
    cross join lateral (select from public.user_events where id = wanted offset 0) as found";

/// The moments of one event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moments {
    /// When the event was due to be sent.
    pub(super) due: Instant,
    /// When its row became visible.
    pub(super) visible: Instant,
    /// When its request was answered.
    pub(super) answered: Instant,
}

/// The events that were sent, by id.
#[derive(Debug, Default)]
struct Events {
    due: HashMap<Uuid, Instant>,
    /// The events whose rows are not visible yet, in the order in which they were due.
    invisible: VecDeque<Uuid>,
    visible: HashMap<Uuid, Instant>,
    answered: HashMap<Uuid, Instant>,
    failure: Option<String>,
}

/// Watches the rows of sent events. Clones share the events.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch(Arc<Mutex<Events>>);

impl Watch {
    /// Starts the thread, which runs until the program ends.
    pub(super) fn start(database_url: &str) -> Result<Self, CommandError> {
        let watch = Self::default();
        let (watching, url) = (watch.clone(), database_url.to_owned());
        let runtime = Builder::new_current_thread().enable_all().build().map_err(CommandError::Serve)?;
        std::thread::spawn(move || {
            if let Err(error) = runtime.block_on(watching.look(&url)) {
                watching.events().failure = Some(error.to_string());
            }
        });
        Ok(watch)
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sent(&self, id: Uuid, due: Instant) {
        let mut events = self.events();
        events.due.insert(id, due);
        events.invisible.push_back(id);
    }

    pub(super) fn answered(&self, id: Uuid) {
        self.events().answered.insert(id, Instant::now());
    }

    async fn look(&self, url: &str) -> Result<(), sqlx::Error> {
        const PAUSE: Duration = Duration::from_micros(200);
        /// The number of events to ask for at once. Events land almost in the order in which they were due, so these
        /// are the first of those that are not visible yet.
        const MOST: usize = 200;
        let mut connection = PgConnection::connect(url).await?;
        loop {
            let wanted: Vec<Uuid> = self.events().invisible.iter().take(MOST).copied().collect();
            if !wanted.is_empty() {
                let found: Vec<Uuid> = sqlx::query_scalar(FIND).bind(&wanted).fetch_all(&mut connection).await?;
                let now = Instant::now();
                let mut events = self.events();
                events.visible.extend(found.into_iter().map(|id| (id, now)));
                let Events { invisible, visible, .. } = &mut *events;
                invisible.retain(|id| !visible.contains_key(id));
            }
            // This thread does nothing else, and the timers of tokio are not precise enough.
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits until every event is visible and answered. Returns their moments, and forgets the events.
    pub(super) async fn all_visible(&self) -> Result<Vec<Moments>, CommandError> {
        const PATIENCE: Duration = Duration::from_secs(60);
        let until = Instant::now() + PATIENCE;
        loop {
            {
                let mut events = self.events();
                if let Some(failure) = &events.failure {
                    return Err(CommandError::Bench(failure.clone()));
                }
                if events.visible.len() == events.due.len() && events.answered.len() == events.due.len() {
                    let Events { due, visible, answered, .. } = std::mem::take(&mut *events);
                    let moments =
                        |(id, due)| Some(Moments { due, visible: *visible.get(&id)?, answered: *answered.get(&id)? });
                    return Ok(due.into_iter().filter_map(moments).collect());
                }
            }
            if Instant::now() > until {
                return Err(CommandError::Bench("events did not land within a minute".to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
