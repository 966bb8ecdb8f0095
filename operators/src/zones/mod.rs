//! Zones: the people in each zone, as collections that differential dataflow maintains.
//!
//! The operator joins the positions of people with the zones. Changes of the join are people who enter or
//! leave, and its count by zone is the occupancy. A change of a zone has the same effect as people who move.
//!
//! Source: F. `McSherry` et al., "Differential dataflow", CIDR 2013.

mod membership;
mod polygon;

use std::collections::BTreeMap;

use differential_dataflow::{AsCollection, VecCollection};
use schemars::JsonSchema;
use schemas::{PoseFrame, Record, RecordKind, Tick, stable_hash};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::{Delay, Map};

use crate::keyed::{HOUR_MS, StateLimits};
use crate::settings::{Outputs, Settings, outside};
use crate::stateful::{Stateful, Work, stateful};
use crate::zones::membership::{Memberships, Update};
use crate::zones::polygon::contains;
use crate::{Context, StateKey};

/// Positions are compared in whole millimetres, which have an order.
const MM_PER_M: f32 = 1000.0;

/// Settings of the `zones` operator. Its main output is the occupancy. `people` contains the frames with the
/// zones of people, and `events` contains people who enter or leave.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZonesConfig {
    /// The zones at the start, by name; they can change while the pipeline runs.
    #[serde(default)]
    pub zones: BTreeMap<String, ZoneConfig>,
    /// Shortest movement that zones take into account, in metres, so that a person on a border does not
    /// alternate between two zones; 0.1 by default.
    #[serde(default = "default_inertia_m")]
    pub inertia_m: f32,
}

fn default_inertia_m() -> f32 {
    0.1
}

impl Settings for ZonesConfig {
    fn input(&self) -> Option<RecordKind> {
        Some(RecordKind::Pose)
    }

    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Occupancy), ("people", RecordKind::Pose), ("events", RecordKind::Event)]
    }

    fn problems(&self) -> Vec<String> {
        let zones = self.zones.iter();
        let of_zone = |(name, zone): (&String, &ZoneConfig)| {
            zone.problem().map(|problem| format!("zones: \"{name}\": {problem}"))
        };
        let inertia = outside("inertia_m", self.inertia_m, &(0.0..=1000.0));
        zones.filter_map(of_zone).chain(inertia).collect()
    }

    fn state_shape(&self) -> Option<String> {
        Some("zones 3".to_owned())
    }
}

/// A zone on the site plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZoneConfig {
    /// Corners of a polygon on the plan, in metres; three or more.
    pub coordinates: Vec<[f32; 2]>,
    /// The site of the zone; every site by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
}

impl ZoneConfig {
    /// Returns an error in the settings, if there is one.
    pub fn problem(&self) -> Option<&'static str> {
        if self.coordinates.len() < 3 {
            return Some("a zone has three corners or more");
        }
        let finite = self.coordinates.iter().flatten().all(|at_m| at_m.is_finite());
        (!finite).then_some("a zone's corners are finite numbers")
    }
}

/// A zone as ordered data: its name, its site, and its corners in millimetres.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Zone {
    name: String,
    site: Option<String>,
    corners: Vec<Place>,
}

impl Zone {
    /// Returns the zone of a configuration.
    pub fn new(name: &str, config: &ZoneConfig) -> Self {
        let corners = config.coordinates.iter().copied().map(to_mm).collect();
        Self { name: name.to_owned(), site: config.site.clone(), corners }
    }
}

/// A zone that is added (+1) or removed (-1) at a tick.
pub type ZoneDifference = (Zone, Tick, isize);

/// Zones on streams of poses.
pub trait Zones<'scope> {
    /// Reports the people in each zone; a change of a zone takes effect at once.
    ///
    /// The output stream contains each frame with the zones of its people, an event for each person who
    /// enters or leaves a zone, and the occupancy of a zone at each change. In overlapping zones, a person's
    /// zone is the first by name. A person who moves less than `inertia_m` stays in place for zones. State: positions, on the worker that the site hashes to; the operator
    /// computes everything else from them. The people of a source leave after an hour without its frames,
    /// with the next frame of the site at the latest.
    ///
    /// ```
    /// use operators::{Context, Zone, ZoneConfig, Zones};
    /// use schemas::{Person, PoseFrame, Record, SitePosition};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// let config: ZoneConfig = serde_json::from_str(
    ///     r#"{ "site": "flat", "coordinates": [[0, 0], [4, 0], [4, 3], [0, 3]] }"#,
    /// )?;
    /// let zones = vec![(Zone::new("kitchen", &config), 0, 1)];
    /// let position = Some(SitePosition { x_m: 1.0, y_m: 1.0 });
    /// let persons = vec![Person { id: "p1".to_owned(), position, ..Person::default() }];
    /// let frame = PoseFrame { site: "flat".to_owned(), persons, ..PoseFrame::default() };
    /// let (to, counts) = std::sync::mpsc::channel();
    /// timely::example(move |scope| {
    ///     let frames = vec![frame].to_stream(scope).container::<Vec<_>>();
    ///     let zones = zones.to_stream(scope).container::<Vec<_>>();
    ///     frames.zones(zones, 0.1, Context::detached("zones")).inspect(move |record| {
    ///         if let Record::Occupancy(occupancy) = record {
    ///             to.send((occupancy.zone.clone(), occupancy.count)).unwrap();
    ///         }
    ///     });
    /// });
    /// assert_eq!(counts.iter().collect::<Vec<_>>(), [("kitchen".to_owned(), 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn zones(
        self,
        zones: StreamVec<'scope, Tick, ZoneDifference>,
        inertia_m: f32,
        context: Context<'scope>,
    ) -> StreamVec<'scope, Tick, Record>;
}

impl<'scope> Zones<'scope> for StreamVec<'scope, Tick, PoseFrame> {
    fn zones(
        self,
        zones: StreamVec<'scope, Tick, ZoneDifference>,
        inertia_m: f32,
        context: Context<'scope>,
    ) -> StreamVec<'scope, Tick, Record> {
        let moves = stateful(self.clone(), &context, Moves { inertia_mm: inertia_m * MM_PER_M });
        let evicted = moves.clone().flat_map(Move::evicted);
        let positions = moves.flat_map(Move::difference).as_collection();
        let inside = inside(positions, zones.as_collection());
        let members = at_their_ticks(inside.clone())
            .map(|(((site, zone), person), _, diff)| Update::Member { site, zone, person, diff });
        let occupied = inside.reduce(|_zone, persons, output| {
            let persons: Vec<_> = persons.iter().map(|(person, _)| (*person).clone()).collect();
            output.push((persons, 1));
        });
        let occupied = at_their_ticks(occupied).map(|(((site, zone), persons), _, diff)| {
            Update::Occupied { site, zone, persons, diff }
        });
        let evicted = evicted.map(|site| Update::Evicted { site });
        let updates = self.map(Update::Frame).concat(members).concat(occupied).concat(evicted);
        let memberships = Memberships::new(context.component.clone());
        stateful(updates, &context.stateless(), memberships)
    }
}

/// Returns the differences of a collection, each at its own tick: the collection can send them earlier.
fn at_their_ticks<D: Clone + 'static>(
    collection: VecCollection<'_, Tick, D, isize>,
) -> StreamVec<'_, Tick, (D, Tick, isize)> {
    collection.inner.delay(|(_, tick, _), _| *tick)
}

/// A person at a place, by site.
type Positions<'scope> = VecCollection<'scope, Tick, (String, (String, Place)), isize>;

/// Millimetres on the plan.
type Place = [i32; 2];

fn to_mm(place_m: [f32; 2]) -> Place {
    // The cast saturates; no plan is that large.
    place_m.map(|at_m| (at_m * MM_PER_M).round() as i32)
}

/// Maintains the positions of all people: each frame moves the people of its source.
struct Moves {
    inertia_mm: f32,
}

impl Moves {
    /// Returns the new place of a person, or `before` if the movement is shorter than the inertia.
    fn place(&self, before: Option<&Place>, now: Place) -> Place {
        let moved_mm = |before: &Place| {
            let [x, y] = [0, 1].map(|axis| now[axis].abs_diff(before[axis]) as f32);
            x.hypot(y)
        };
        match before.filter(|before| moved_mm(before) < self.inertia_mm) {
            Some(before) => *before,
            None => now,
        }
    }
}

/// A difference of [`Positions`].
type PositionDifference = ((String, (String, Place)), Tick, isize);

/// The output of [`Moves`].
#[derive(Clone)]
enum Move {
    /// A person is at a place of a site from a tick on (+1), or no longer (-1).
    Difference(PositionDifference),
    /// The last source of a site was evicted.
    Evicted(String),
}

impl Move {
    fn difference(self) -> Option<PositionDifference> {
        if let Self::Difference(difference) = self { Some(difference) } else { None }
    }

    fn evicted(self) -> Option<String> {
        if let Self::Evicted(site) = self { Some(site) } else { None }
    }

    /// Adds (+1) or removes (-1) all people of a source.
    fn all(
        key: &SiteSource,
        places: &Places,
        tick: Tick,
        diff: isize,
    ) -> impl Iterator<Item = Self> {
        places.iter().map(move |(id, place)| {
            Self::Difference(((key.site.clone(), (id.clone(), *place)), tick, diff))
        })
    }
}

/// The places of a source's people, by id.
type Places = BTreeMap<String, Place>;

/// A site and a source of frames; all sources of a site are on one worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct SiteSource {
    site: String,
    source: String,
}

impl StateKey for SiteSource {
    fn route(&self) -> u64 {
        stable_hash(&[&self.site])
    }
}

impl Stateful for Moves {
    type Input = PoseFrame;
    type Output = Move;
    type Key = SiteSource;
    type State = Places;

    /// The people of a failed source expire. All sources of a site are in one key group.
    const LIMITS: StateLimits =
        StateLimits { time_to_live_ms: Some(HOUR_MS), max_keys_per_group: 256 };
    const EMITS_ON_EVICT: bool = true;

    fn route(frame: &PoseFrame) -> u64 {
        stable_hash(&[&frame.site])
    }

    fn on_tick(&mut self, tick: Tick, frames: Vec<PoseFrame>, work: &mut Work<'_, Self>) {
        for PoseFrame { site, source, persons, .. } in frames {
            let key = SiteSource { site, source };
            let before = work.state.change(&key, Places::new);
            let persons = persons.into_iter().filter_map(|person| {
                let at = person.position?;
                let place = self.place(before.get(&person.id), to_mm([at.x_m, at.y_m]));
                Some((person.id, place))
            });
            let now: Places = persons.collect();
            let gone = before.iter().filter(|(id, place)| now.get(*id) != Some(place));
            let come = now.iter().filter(|(id, place)| before.get(*id) != Some(place));
            let changes = gone.map(|change| (change, -1)).chain(come.map(|change| (change, 1)));
            work.outputs.extend(changes.map(|((id, place), diff)| {
                Move::Difference(((key.site.clone(), (id.clone(), *place)), tick, diff))
            }));
            *before = now;
        }
    }

    /// Rebuilds the collection, which is not saved, from the restored positions.
    fn on_restore(&mut self, tick: Tick, work: &mut Work<'_, Self>) {
        let everyone = work.state.iter().flat_map(|(key, places)| Move::all(key, places, tick, 1));
        work.outputs.extend(everyone);
    }

    /// Removes the people of the source, and the site with its last source.
    fn on_evict(
        &mut self,
        tick: Tick,
        key: &SiteSource,
        places: &Places,
        work: &mut Work<'_, Self>,
    ) {
        work.outputs.extend(Move::all(key, places, tick, -1));
        if !work.state.iter_group(key.route()).any(|(other, _)| other.site == key.site) {
            work.outputs.push(Move::Evicted(key.site.clone()));
        }
    }
}

/// Returns the members of each zone of each site.
fn inside<'scope>(
    positions: Positions<'scope>,
    zones: VecCollection<'scope, Tick, Zone, isize>,
) -> VecCollection<'scope, Tick, ((String, String), String), isize> {
    // The zones of each site with people, so that the join is distributed by site.
    let sites = positions.clone().map(|(site, _)| ((), site)).distinct();
    let by_site =
        sites.join_map(zones.map(|zone| ((), zone)), |(), site, zone| (site.clone(), zone.clone()));
    let here = by_site.filter(|(site, zone)| zone.site.as_ref().is_none_or(|other| other == site));
    positions
        .join_map(here, |site, (person, place), zone| {
            let zone_name = contains(&zone.corners, *place).then(|| zone.name.clone());
            zone_name.map(|zone_name| ((site.clone(), zone_name), person.clone()))
        })
        .flat_map(|inside| inside)
        .distinct()
}

#[cfg(test)]
mod tests;
