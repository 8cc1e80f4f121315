//! The subscriber that turns events into lines.

use std::cell::Cell;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber, span};

use super::fields::Fields;
use super::line;
use super::sink::{MemoryLog, Sink};
use super::{Format, Level, LogError, LogSettings};

/// Scopes whose lines are printed at any level.
const ALWAYS: [&str; 2] = ["dapr.runtime.http-info", "dapr.runtime.grpc.api-info"];

/// Scopes whose lines carry no `app_id`.
const WITHOUT_APP_ID: [&str; 2] = ["dapr.runtime.trace", "dapr.api"];

/// Room that a thread keeps for its next line; a longer line's room is given back.
const KEPT_ROOM: usize = 16 * 1024;

/// Prints events as log lines: one write an event, formatted on the thread of the caller without a lock.
#[derive(Debug)]
pub struct Logger {
    level: Level,
    form: Form,
    sink: Sink,
    app_id: Option<Arc<str>>,
    instance: Box<str>,
    version: Box<str>,
    started: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    Terminal,
}

/// Buffers of a thread, reused from line to line.
#[derive(Default)]
struct Room {
    fields: Fields,
    line: String,
}

thread_local! {
    static ROOM: Cell<Option<Box<Room>>> = const { Cell::new(None) };
}

// === impl Logger ===

impl Logger {
    /// A logger that writes where the settings say.
    ///
    /// # Errors
    /// If the file or stdout cannot be opened.
    pub fn open(settings: &LogSettings) -> Result<Self, LogError> {
        let (sink, terminal) = match &settings.file {
            Some(path) => (Sink::append(path)?, false),
            None => Sink::stdout()?,
        };
        Ok(Self::new(settings, sink, terminal))
    }

    /// A logger for tests, whose lines stay in memory.
    #[must_use]
    pub fn in_memory(settings: &LogSettings) -> (Self, MemoryLog) {
        let lines = MemoryLog::default();
        (Self::new(settings, Sink::Memory(lines.clone()), false), lines)
    }

    fn new(settings: &LogSettings, sink: Sink, terminal: bool) -> Self {
        let form = match settings.format {
            Format::Json => Form::Json,
            Format::Text if terminal => Form::Terminal,
            Format::Text => Form::Text,
        };
        Self {
            level: settings.level,
            form,
            sink,
            app_id: settings.app_id.clone(),
            instance: settings.instance.as_str().into(),
            version: settings.version.as_str().into(),
            started: Instant::now(),
        }
    }

    fn prints(&self, metadata: &Metadata<'_>) -> bool {
        if !metadata.is_event() || !metadata.target().starts_with("dapr") {
            return false;
        }
        let Some(level) = level_of(metadata) else {
            return false;
        };
        let raised = if metadata.fields().field("fatal").is_some() {
            Level::Fatal
        } else {
            level
        };
        raised >= self.level || ALWAYS.contains(&metadata.target())
    }

    fn print(&self, event: &Event<'_>, room: &mut Room) {
        let Room { fields, line } = room;
        fields.clear();
        line.clear();
        event.record(fields);
        let scope = event.metadata().target();
        let level = fields.level(level_of(event.metadata()).unwrap_or_default());
        if let Some(app_id) = &self.app_id
            && !WITHOUT_APP_ID.contains(&scope)
        {
            fields.add_default("app_id", app_id);
        }
        fields.add_default("instance", &self.instance);
        fields.add_default("type", "log");
        fields.add_default("ver", &self.version);
        fields.add_scope(scope);
        match self.form {
            Form::Text => line::write_text(line, SystemTime::now(), level, fields),
            Form::Json => line::write_json(line, SystemTime::now(), level, fields),
            Form::Terminal => line::write_terminal(line, self.started.elapsed().as_secs(), level, fields),
        }
        self.sink.write(line.as_bytes());
    }
}

impl Subscriber for Logger {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.prints(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.prints(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Never below info: the scopes of API logging are printed at any level.
        Some(if self.level == Level::Debug {
            LevelFilter::DEBUG
        } else {
            LevelFilter::INFO
        })
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        // Spans are never enabled; the trait asks for an id all the same.
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        // Taken out while in use, so that a value which logs while it is formatted finds fresh room.
        let mut room = ROOM.take().unwrap_or_default();
        self.print(event, &mut room);
        if room.line.capacity() <= KEPT_ROOM {
            ROOM.set(Some(room));
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn level_of(metadata: &Metadata<'_>) -> Option<Level> {
    Some(match *metadata.level() {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warning,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => return None,
    })
}
