//! The tables of the random histories, in PostgreSQL and in memory.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Creates tables and constraints. Some constraints are checked at once, and others at COMMIT. The foreign key from
/// `landing.child` to `public.gauges` connects the tables of two streams.
pub(crate) const TABLES: &str = "
    create table landing.parent (id int primary key, rank int unique deferrable initially deferred);
    create table landing.child (
        id int primary key,
        parent int references landing.parent deferrable initially deferred,
        gauge bigint references public.gauges deferrable initially deferred);
    create table landing.prompt (
        id int primary key,
        parent int references landing.parent,
        place int unique deferrable initially immediate);
    alter table public.gauges add exclude using btree (value with =) deferrable initially deferred;
    alter table public.routes_table add check (user_id <> 13);
    alter table public.routes_table add unique (user_id, latitude) deferrable initially deferred;
    create function landing.even() returns trigger language plpgsql as $$ begin
        if (select sum(latitude)::int % 2 from public.routes_table where user_id = 7) <> 0 then
            raise exception 'the latitudes of user 7 must add up to an even number';
        end if;
        return null;
    end $$;
    create constraint trigger even after insert on public.routes_table
        deferrable initially deferred for each row execute function landing.even()";

#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    InsertParent { id: i64, rank: i64 },
    InsertChild { id: i64, parent: i64, gauge: i64 },
    InsertPrompt { id: i64, parent: i64, place: i64 },
    DeleteParent(i64),
    DeleteChild(i64),
    DeletePrompt(i64),
}

#[derive(Debug, Clone)]
pub(crate) enum Event {
    Set(Vec<Operation>),
    Gauge { id: i64, value: i64 },
    Route { user: i64, latitude: i64 },
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Set(operations) => json!({"change": operations.iter().map(Operation::json).collect::<Vec<_>>()}),
            Self::Gauge { id, value } => json!({"id": id, "value": value}),
            Self::Route { user, latitude } => {
                json!({"userID": user, "timestamp": 1, "coordinates": [latitude, 4.25]})
            }
        }
    }
}

impl Operation {
    fn json(&self) -> Value {
        let insert = |table: &str, columns: &[(&str, i64)]| {
            json!({"kind": "insert", "table": table,
                   "columnnames": columns.iter().map(|(name, _)| name).collect::<Vec<_>>(),
                   "columnvalues": columns.iter().map(|(_, value)| value).collect::<Vec<_>>()})
        };
        let delete = |table: &str, id: i64| json!({"kind": "delete", "table": table, "oldkeys": {"keynames": ["id"], "keyvalues": [id]}});
        match *self {
            Self::InsertParent { id, rank } => insert("parent", &[("id", id), ("rank", rank)]),
            Self::InsertChild { id, parent, gauge } => {
                insert("child", &[("id", id), ("parent", parent), ("gauge", gauge)])
            }
            Self::InsertPrompt { id, parent, place } => {
                insert("prompt", &[("id", id), ("parent", parent), ("place", place)])
            }
            Self::DeleteParent(id) => delete("parent", id),
            Self::DeleteChild(id) => delete("child", id),
            Self::DeletePrompt(id) => delete("prompt", id),
        }
    }
}

/// The rows of the tables in memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct World {
    parents: BTreeMap<i64, i64>,
    children: BTreeMap<i64, (i64, i64)>,
    prompts: BTreeMap<i64, (i64, i64)>,
    gauges: BTreeMap<i64, i64>,
    routes: Vec<(i64, i64)>,
}

impl World {
    /// Applies an event. Returns whether the constraints that are checked at once allow it.
    fn apply(&mut self, event: &Event) -> bool {
        match event {
            Event::Set(operations) => {
                let mut applied = self.clone();
                let is_applied = operations.iter().all(|operation| applied.change(*operation));
                if is_applied {
                    *self = applied;
                }
                is_applied
            }
            Event::Gauge { id, value } => {
                self.gauges.insert(*id, *value);
                *id != 5
            }
            Event::Route { user, latitude } => {
                self.routes.push((*user, *latitude));
                *user != 13
            }
        }
    }

    fn change(&mut self, operation: Operation) -> bool {
        match operation {
            Operation::InsertParent { id, rank } => self.parents.insert(id, rank).is_none(),
            Operation::InsertChild { id, parent, gauge } => self.children.insert(id, (parent, gauge)).is_none(),
            Operation::InsertPrompt { id, parent, place } => {
                let is_free = self.prompts.values().all(|(_, taken)| *taken != place);
                is_free && self.parents.contains_key(&parent) && self.prompts.insert(id, (parent, place)).is_none()
            }
            Operation::DeleteParent(id) => {
                self.parents.remove(&id);
                self.prompts.values().all(|(parent, _)| *parent != id)
            }
            Operation::DeleteChild(id) => {
                self.children.remove(&id);
                true
            }
            Operation::DeletePrompt(id) => {
                self.prompts.remove(&id);
                true
            }
        }
    }

    /// Returns whether the rows satisfy the constraints that are checked at COMMIT.
    fn is_consistent(&self) -> bool {
        let ranks: BTreeSet<&i64> = self.parents.values().collect();
        let values: BTreeSet<&i64> = self.gauges.values().collect();
        let routes: BTreeSet<&(i64, i64)> = self.routes.iter().collect();
        let of_seven: i64 = self.routes.iter().filter(|(user, _)| *user == 7).map(|(_, latitude)| latitude).sum();
        ranks.len() == self.parents.len()
            && values.len() == self.gauges.len()
            && routes.len() == self.routes.len()
            && of_seven % 2 == 0
            && self
                .children
                .values()
                .all(|(parent, gauge)| self.parents.contains_key(parent) && self.gauges.contains_key(gauge))
    }

    /// Returns the rows after these events have landed together, or `None` if the events cannot land together.
    pub(crate) fn after<'e>(&self, events: impl IntoIterator<Item = &'e Event>) -> Option<Self> {
        let mut after = self.clone();
        (events.into_iter().all(|event| after.apply(event)) && after.is_consistent()).then(|| {
            after.routes.sort_unstable();
            after
        })
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "parents": self.parents.iter().map(|(id, rank)| [id, rank]).collect::<Vec<_>>(),
            "children": self.children.iter().map(|(id, (parent, gauge))| [id, parent, gauge]).collect::<Vec<_>>(),
            "prompts": self.prompts.iter().map(|(id, (parent, place))| [id, parent, place]).collect::<Vec<_>>(),
            "gauges": self.gauges.iter().map(|(id, value)| [id, value]).collect::<Vec<_>>(),
            "routes": self.routes,
        })
    }
}

/// Selects the rows of the tables in PostgreSQL in the same form as [`World::json`].
pub(crate) const WORLD: &str = "
    select json_build_object(
        'parents', (select coalesce(json_agg(json_build_array(id, rank) order by id), '[]') from landing.parent),
        'children', (select coalesce(json_agg(json_build_array(id, parent, gauge) order by id), '[]') from landing.child),
        'prompts', (select coalesce(json_agg(json_build_array(id, parent, place) order by id), '[]') from landing.prompt),
        'gauges', (select coalesce(json_agg(json_build_array(id, value) order by id), '[]') from public.gauges),
        'routes', (select coalesce(json_agg(json_build_array(user_id, latitude::int) order by user_id, latitude), '[]')
                   from public.routes_table))";

pub(crate) const CLEAR: &str = "
    delete from landing.child; delete from landing.prompt; delete from landing.parent; delete from public.gauges;
    delete from public.routes_table; delete from sluice.watermarks; delete from sluice.dead_letters;
    delete from sluice.event_ids; delete from sluice.duplicates";
