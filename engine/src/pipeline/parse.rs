//! Parses a text to a [`Pipeline`], and reports every diagnostic with its span.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};

use schemas::{TickLength, TimeSpan};
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error, ValueDeserializer};

use crate::pipeline::plan::inputs;
use crate::pipeline::renamed::rename_settings;
use crate::pipeline::tagged::Tagged;
use crate::{Diagnostic, Pipeline, PipelineError, Plan};

use super::{ApiConfig, CheckpointConfig, Component, setting_at};

const TOP_LEVEL: [&str; 9] = [
    "name",
    "tick",
    "max_lead",
    "max_in_flight_mib",
    "checkpoint",
    "api",
    "sources",
    "operators",
    "sinks",
];
const DEFAULT_TICK: TimeSpan = TimeSpan::from_ms(10);
const MIN_TICK: TimeSpan = TimeSpan::from_ms(1);
const DEFAULT_MAX_LEAD: TimeSpan = TimeSpan::from_s(2);
/// Maximum length of a tick: all its records wait in memory for its end.
const MAX_TICK: TimeSpan = TimeSpan::from_s(3600);
const DEFAULT_MAX_IN_FLIGHT_MIB: NonZeroUsize = NonZeroUsize::new(64).expect("it is not zero");

impl Plan {
    /// Reads and checks a pipeline file whose relative paths are relative to the current folder.
    ///
    /// # Errors
    ///
    /// [`PipelineError`] with every diagnostic that was found.
    pub fn load(path: &Path) -> Result<Self, PipelineError> {
        Self::load_in(path, Path::new("."))
    }

    /// Reads and checks a pipeline file whose relative paths are relative to `directory`.
    ///
    /// # Errors
    ///
    /// [`PipelineError`] with every diagnostic that was found.
    pub fn load_in(path: &Path, directory: &Path) -> Result<Self, PipelineError> {
        let text = fs::read_to_string(path)
            .map_err(|source| PipelineError::Read { path: path.to_owned(), source })?;
        Self::parse_in(path, &text, directory)
    }

    /// Reads and checks a pipeline file, and checks that the files it names exist. Relative paths are
    /// relative to `directory`.
    ///
    /// # Errors
    ///
    /// [`PipelineError`] with every diagnostic that was found.
    pub fn validate(path: &Path, directory: &Path) -> Result<Self, PipelineError> {
        let text = fs::read_to_string(path)
            .map_err(|source| PipelineError::Read { path: path.to_owned(), source })?;
        let missing = Pipeline::parse(&text).map(|it| inputs::missing_files(&it, directory));
        let plan = Self::parse_in(path, &text, directory);
        let missing = missing.unwrap_or_default();
        match plan {
            Err(PipelineError::Invalid { path, text, mut diagnostics }) => {
                diagnostics.extend(missing);
                Err(PipelineError::invalid(path, text, diagnostics))
            }
            Ok(_) if !missing.is_empty() => {
                Err(PipelineError::invalid(path.to_owned(), text, missing))
            }
            plan => plan,
        }
    }

    /// Checks the text of a pipeline file whose relative paths are relative to the current folder. Messages
    /// contain `path` as the name of the file.
    ///
    /// # Errors
    ///
    /// [`PipelineError::Invalid`] with every diagnostic that was found.
    pub fn parse(path: &Path, text: &str) -> Result<Self, PipelineError> {
        Self::parse_in(path, text, Path::new("."))
    }

    /// Checks the text of a pipeline file whose relative paths are relative to `directory`.
    pub(super) fn parse_in(
        path: &Path,
        text: &str,
        directory: &Path,
    ) -> Result<Self, PipelineError> {
        let plan = Pipeline::parse(text).and_then(|pipeline| Self::new(pipeline, directory));
        plan.map_err(|diagnostics| {
            PipelineError::invalid(path.to_owned(), text.to_owned(), diagnostics)
        })
    }
}

impl PipelineError {
    /// Returns an error that lists the diagnostics in the order of the text.
    fn invalid(path: PathBuf, text: String, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|diagnostic| diagnostic.at.start);
        Self::Invalid { path, text, diagnostics }
    }
}

impl Pipeline {
    /// Parses a pipeline, but does not resolve its names.
    pub(super) fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        let table = DeTable::parse(text).map_err(|error| vec![error.into()])?;
        let mut reader = Reader { diagnostics: Vec::new() };
        let pipeline = reader.pipeline(table.into_inner());
        if reader.diagnostics.is_empty() {
            return Ok(pipeline);
        }
        reader.diagnostics.extend(pipeline.problems());
        Err(reader.diagnostics)
    }
}

/// Continues after a diagnostic, so that one pass finds all diagnostics.
struct Reader {
    diagnostics: Vec<Diagnostic>,
}

impl Reader {
    fn pipeline(&mut self, mut table: DeTable<'_>) -> Pipeline {
        for key in table.keys().filter(|key| !TOP_LEVEL.contains(&key.as_ref().as_ref())) {
            let message =
                format!("unknown key \"{}\", expected one of {}", key.as_ref(), list(TOP_LEVEL));
            self.diagnostics
                .push(Diagnostic::new(key.span(), message).suggesting(key.as_ref(), TOP_LEVEL));
        }
        let name = self.name(table.remove("name"));
        let tick = table.remove("tick").and_then(|tick| self.tick(tick));
        let tick_length = TickLength::from_ms(tick.unwrap_or(DEFAULT_TICK).as_ms());
        let max_lead = table.remove("max_lead").and_then(|lead| self.max_lead(lead));
        let max_lead = max_lead.unwrap_or(DEFAULT_MAX_LEAD);
        let max_in_flight_mib =
            table.remove("max_in_flight_mib").and_then(|size| self.deserialize(size));
        let max_in_flight_mib = max_in_flight_mib.unwrap_or(DEFAULT_MAX_IN_FLIGHT_MIB);
        let checkpoint = table.remove("checkpoint").map(|table| self.checkpoint(table));
        let checkpoint = checkpoint.unwrap_or_default();
        let api = table.remove("api").map(|table| self.api(table));
        let sources = self.components("source", table.remove("sources"), false);
        let operators = self.components("operator", table.remove("operators"), true);
        let sinks = self.components("sink", table.remove("sinks"), true);
        Pipeline {
            name,
            tick_length,
            max_lead,
            max_in_flight_mib,
            checkpoint,
            api,
            sources,
            operators,
            sinks,
        }
    }

    fn tick(&mut self, value: Spanned<DeValue<'_>>) -> Option<TimeSpan> {
        let at = value.span();
        let tick = self.deserialize::<TimeSpan>(value)?;
        if !(MIN_TICK..=MAX_TICK).contains(&tick) {
            let message = format!(
                "tick must be from {MIN_TICK} to {MAX_TICK}, not {tick}: its records wait in memory for its end"
            );
            self.diagnostics.push(Diagnostic::new(at, message));
        }
        Some(tick)
    }

    fn max_lead(&mut self, value: Spanned<DeValue<'_>>) -> Option<TimeSpan> {
        let at = value.span();
        let max_lead = self.deserialize::<TimeSpan>(value)?;
        if max_lead < MIN_TICK {
            let message = format!("max_lead must be at least {MIN_TICK}, not {max_lead}");
            self.diagnostics.push(Diagnostic::new(at, message));
        }
        Some(max_lead)
    }

    fn checkpoint(&mut self, value: Spanned<DeValue<'_>>) -> CheckpointConfig {
        self.section("checkpoint", value, CheckpointConfig::problems)
    }

    fn api(&mut self, value: Spanned<DeValue<'_>>) -> ApiConfig {
        self.section("api", value, ApiConfig::problems)
    }

    /// Reads the settings of a table, and reports their problems.
    fn section<C: DeserializeOwned + Default>(
        &mut self,
        name: &str,
        value: Spanned<DeValue<'_>>,
        problems: impl Fn(&C) -> Vec<String>,
    ) -> C {
        let at = value.span();
        let settings_at = value.get_ref().as_table().map(settings_at).unwrap_or_default();
        let config: C = self.deserialize(value).unwrap_or_default();
        for problem in problems(&config) {
            let at = setting_at(&settings_at, &problem).unwrap_or_else(|| at.clone());
            self.diagnostics.push(Diagnostic::new(at, format!("{name}: {problem}")));
        }
        config
    }

    fn name(&mut self, value: Option<Spanned<DeValue<'_>>>) -> String {
        let Some(value) = value else {
            self.diagnostics
                .push(Diagnostic::new(0..0, "the pipeline has no name: expected name = \"...\""));
            return String::new();
        };
        let span = value.span();
        let name = self.deserialize::<String>(value).unwrap_or_default();
        self.check_name(&name, span);
        name
    }

    fn check_name(&mut self, name: &str, at: Range<usize>) {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
        if name.is_empty() || !name.chars().all(allowed) {
            let message = format!("\"{name}\" is no name, expected letters, digits, _ and -");
            self.diagnostics.push(Diagnostic::new(at, message));
        }
    }

    fn components<C: DeserializeOwned>(
        &mut self,
        kind: &str,
        section: Option<Spanned<DeValue<'_>>>,
        takes_inputs: bool,
    ) -> Vec<Component<C>> {
        let Some(section) = section else { return Vec::new() };
        let span = section.span();
        let DeValue::Table(tables) = section.into_inner() else {
            self.diagnostics.push(Diagnostic::new(span, format!("expected tables [{kind}s.NAME]")));
            return Vec::new();
        };
        let components = tables.into_iter().filter_map(|(name, table)| {
            let name_at = name.span();
            let name = name.into_inner().into_owned();
            self.check_name(&name, name_at.clone());
            self.component(kind, name, name_at, table, takes_inputs)
        });
        components.collect()
    }

    fn component<C: DeserializeOwned>(
        &mut self,
        kind: &str,
        name: String,
        name_at: Range<usize>,
        table: Spanned<DeValue<'_>>,
        takes_inputs: bool,
    ) -> Option<Component<C>> {
        let span = table.span();
        let DeValue::Table(mut table) = table.into_inner() else {
            self.diagnostics
                .push(Diagnostic::new(span, format!("expected a table [{kind}s.{name}]")));
            return None;
        };
        rename_settings(&mut table);
        let tag = table.remove("type");
        let inputs = if takes_inputs {
            self.inputs(kind, &name, &name_at, table.remove("inputs"))
        } else {
            Vec::new()
        };
        let Some(tag) = tag else {
            let message = format!("{kind} \"{name}\" has no type: expected type = \"...\"");
            self.diagnostics.push(Diagnostic::new(name_at, message));
            return None;
        };
        let tag_at = tag.span();
        let tag = self.deserialize::<String>(tag)?;
        let settings_at = settings_at(&table);
        // A wrong setting is left out at the next try, so that all of them are found.
        let mut left_out = Vec::new();
        loop {
            let settings = Spanned::new(span.clone(), DeValue::Table(table.clone()));
            let settings = ValueDeserializer::from(settings);
            let error = match C::deserialize(Tagged { tag: &tag, settings }) {
                Ok(config) => {
                    return Some(Component { name, name_at, settings_at, config, inputs });
                }
                Err(error) => error,
            };
            let missing = |setting| error.message() == format!("missing field `{setting}`");
            if left_out.iter().any(missing) {
                return None;
            }
            let wrong = error.span().and_then(|at| key_at(&table, at.start));
            self.diagnostics.push(in_component(error, kind, &name, &name_at, &tag_at));
            let (key, _) = table.remove_entry(wrong.as_deref()?)?;
            left_out.push(key.into_inner());
        }
    }

    fn inputs(
        &mut self,
        kind: &str,
        name: &str,
        name_at: &Range<usize>,
        value: Option<Spanned<DeValue<'_>>>,
    ) -> Vec<(String, Range<usize>)> {
        let inputs = match value {
            Some(value) => match self.deserialize::<Vec<Spanned<String>>>(value) {
                Some(inputs) => inputs,
                None => return Vec::new(),
            },
            None => Vec::new(),
        };
        if inputs.is_empty() {
            let message = format!("{kind} \"{name}\" has no inputs: expected inputs = [\"...\"]");
            self.diagnostics.push(Diagnostic::new(name_at.clone(), message));
        }
        inputs.into_iter().map(|input| (input.as_ref().clone(), input.span())).collect()
    }

    fn deserialize<T: DeserializeOwned>(&mut self, value: Spanned<DeValue<'_>>) -> Option<T> {
        let at = value.span();
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Some(value),
            Err(error) => {
                let at = error.span().unwrap_or_else(|| at.clone());
                self.diagnostics.push(Diagnostic { at, ..Diagnostic::from(error) });
                None
            }
        }
    }
}

/// Returns the diagnostic of an error in the settings of a component.
fn in_component(
    error: Error,
    kind: &str,
    name: &str,
    name_at: &Range<usize>,
    tag_at: &Range<usize>,
) -> Diagnostic {
    let in_tag = error.message().starts_with("unknown variant") && error.span().is_none();
    let mut diagnostic = Diagnostic::from(error);
    if in_tag {
        diagnostic.at = tag_at.clone();
        let unknown = format!("unknown {kind} type");
        diagnostic.message = diagnostic.message.replacen("unknown value", &unknown, 1);
    } else if diagnostic.at == (0..0) {
        diagnostic.at = name_at.clone();
    }
    diagnostic.message = format!("{kind} \"{name}\": {}", diagnostic.message);
    diagnostic
}

/// Returns the key of a table at a place in the text, or the key whose value is there. A table with a header
/// of its own is outside of the span of its parent.
fn key_at(table: &DeTable<'_>, at: usize) -> Option<String> {
    let is_there = |(key, value): &(&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let is_inside = |nested: &DeTable<'_>| key_at(nested, at).is_some();
        key.span().contains(&at)
            || value.span().contains(&at)
            || value.get_ref().as_table().is_some_and(is_inside)
    };
    table.iter().find(is_there).map(|(key, _)| key.get_ref().to_string())
}

/// Returns the span of the value of each key of a table.
fn settings_at(table: &DeTable<'_>) -> BTreeMap<String, Range<usize>> {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), value.span())).collect()
}

/// Returns names in quotes, separated by commas.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = names.into_iter().map(|name| format!("\"{name}\"")).collect();
    quoted.join(", ")
}
