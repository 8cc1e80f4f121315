//! The subscriber that turns events into lines.

use std::cell::Cell;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber, span};

use super::export::Record;
use super::fields::Fields;
use super::line;
use super::sink::{MemoryLog, Sink};
use super::{Format, Level, LogError, LogSettings};
use crate::export::Queue;

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
    /// Where lines are exported from; none unless that is asked for.
    exports: ArcSwapOption<Queue<Record>>,
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
            exports: ArcSwapOption::empty(),
            app_id: settings.app_id.clone(),
            instance: settings.instance.as_str().into(),
            version: settings.version.as_str().into(),
            started: Instant::now(),
        }
    }

    /// Puts what is printed from now on into a queue as well.
    pub(super) fn export_to(&self, queue: Option<Arc<Queue<Record>>>) {
        self.exports.store(queue);
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
        let now = SystemTime::now();
        match self.form {
            Form::Text => line::write_text(line, now, level, fields),
            Form::Json => line::write_json(line, now, level, fields),
            Form::Terminal => line::write_terminal(line, self.started.elapsed().as_secs(), level, fields),
        }
        self.sink.write(line.as_bytes());
        if let Some(queue) = &*self.exports.load() {
            queue.push(Record::of_line(now, level, scope, fields));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log;

    fn settings() -> LogSettings {
        LogSettings {
            app_id: Some("caller".into()),
            instance: "vm".to_owned(),
            version: "unknown".to_owned(),
            ..LogSettings::default()
        }
    }

    /// The lines of what `work` logs, without their times.
    fn lines(settings: &LogSettings, work: impl FnOnce()) -> Vec<String> {
        let (logger, lines) = Logger::in_memory(settings);
        tracing::subscriber::with_default(logger, work);
        let lines = lines.lines();
        lines
            .iter()
            .map(|line| {
                line.split_once("Z\" ")
                    .map_or(line.as_str(), |(_, rest)| rest)
                    .to_owned()
            })
            .collect()
    }

    #[test]
    fn lines_look_as_the_reference_prints_them() {
        let printed = lines(&settings(), || {
            let commit = "";
            tracing::info!(target: "dapr.runtime", "Starting Dapr Runtime -- version edge -- commit {commit}");
            tracing::warn!(target: "dapr.runtime.security", "mTLS is disabled. Skipping certificate request and tls validation");
            tracing::info!(target: "dapr.runtime.diagnostics", "metric spec: {}", r#"{"enabled":true}"#);
            tracing::info!(target: "dapr.contrib", component = "nr (mdns/v1)", "local service entry announced: caller -> 192.0.2.2:26202");
            tracing::error!(target: "dapr.api", "Error getting job j due to: scheduler clients are disabled");
            tracing::info!(target: "dapr.runtime", "Loading components…");
        });
        assert_eq!(
            printed,
            [
                r#"level=info msg="Starting Dapr Runtime -- version edge -- commit " app_id=caller instance=vm scope=dapr.runtime type=log ver=unknown"#,
                r#"level=warning msg="mTLS is disabled. Skipping certificate request and tls validation" app_id=caller instance=vm scope=dapr.runtime.security type=log ver=unknown"#,
                r#"level=info msg="metric spec: {\"enabled\":true}" app_id=caller instance=vm scope=dapr.runtime.diagnostics type=log ver=unknown"#,
                r#"level=info msg="local service entry announced: caller -> 192.0.2.2:26202" app_id=caller component="nr (mdns/v1)" instance=vm scope=dapr.contrib type=log ver=unknown"#,
                r#"level=error msg="Error getting job j due to: scheduler clients are disabled" instance=vm scope=dapr.api type=log ver=unknown"#,
                r#"level=info msg="Loading components…" app_id=caller instance=vm scope=dapr.runtime type=log ver=unknown"#,
            ]
        );
    }

    #[test]
    fn api_calls_are_printed_at_any_level_with_their_fields() {
        let quiet = LogSettings {
            level: Level::Error,
            ..settings()
        };
        let printed = lines(&quiet, || {
            tracing::info!(target: "dapr.runtime", "not printed");
            let useragent: Option<&str> = None;
            tracing::info!(
                target: "dapr.runtime.http-info",
                method = "GET /v1.0/state/s/k",
                useragent,
                code = 204_u16,
                size = 0_u64,
                duration = 3_u64,
                "HTTP API Called"
            );
            let useragent = Some("grpc-go/1.81.0");
            tracing::info!(target: "dapr.runtime.grpc.api-info", method = "/a.B/C", useragent, code = 0, duration = 1, "gRPC API Called");
        });
        assert_eq!(
            printed,
            [
                r#"level=info msg="HTTP API Called" app_id=caller code=204 duration=3 instance=vm method="GET /v1.0/state/s/k" scope=dapr.runtime.http-info size=0 type=log ver=unknown"#,
                r#"level=info msg="gRPC API Called" app_id=caller code=0 duration=1 instance=vm method=/a.B/C scope=dapr.runtime.grpc.api-info type=log useragent=grpc-go/1.81.0 ver=unknown"#,
            ]
        );
    }

    #[test]
    fn only_levels_from_the_chosen_one_and_scopes_of_ours_are_printed() {
        let table = [
            (Level::Debug, "debug info warning error fatal"),
            (Level::Info, "info warning error fatal"),
            (Level::Warning, "warning error fatal"),
            (Level::Error, "error fatal"),
            (Level::Fatal, "fatal"),
        ];
        for (level, expected) in table {
            let printed = lines(&LogSettings { level, ..settings() }, || {
                tracing::trace!(target: "dapr.test", "x");
                tracing::debug!(target: "dapr.test", "x");
                tracing::info!(target: "dapr.test", "x");
                tracing::warn!(target: "dapr.test", "x");
                tracing::error!(target: "dapr.test", "x");
                tracing::error!(target: "h2::codec", "x");
                tracing::error!("x");
                log::fatal("dapr.runtime", "x");
            });
            let levels: Vec<&str> = printed
                .iter()
                .filter_map(|line| line.split(' ').next()?.strip_prefix("level="))
                .collect();
            assert_eq!(levels.join(" "), expected);
        }
    }

    #[test]
    fn a_fatal_line_bears_the_scope_it_is_given() {
        let printed = lines(&settings(), || {
            log::fatal("dapr.runtime", format_args!("invalid value for {}", "--mode"))
        });
        let expected = r#"level=fatal msg="invalid value for --mode" app_id=caller instance=vm scope=dapr.runtime type=log ver=unknown"#;
        assert_eq!(printed, [expected]);
    }

    #[test]
    fn json_members_are_sorted_and_numbers_bare() {
        let json = LogSettings {
            format: Format::Json,
            app_id: None,
            ..settings()
        };
        let (logger, lines) = Logger::in_memory(&json);
        tracing::subscriber::with_default(logger, || {
            tracing::info!(target: "dapr.runtime.http-info", method = "a<b>&c", code = 200, ratio = 0.5, ok = true, "said \"hi\"");
        });
        let line = lines.lines().remove(0);
        let (front, time) = line.split_once("\"time\":\"").unwrap();
        assert_eq!(
            front,
            r#"{"code":200,"instance":"vm","level":"info","method":"a\u003cb\u003e\u0026c","msg":"said \"hi\"","ok":true,"ratio":0.5,"scope":"dapr.runtime.http-info","#
        );
        assert!(time.ends_with(r#"Z","type":"log","ver":"unknown"}"#), "{time}");
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["msg"], "said \"hi\"");
    }

    #[test]
    fn fields_of_an_event_win_over_the_common_ones() {
        let printed = lines(&settings(), || {
            tracing::info!(target: "dapr.runtime", instance = "other", "type" = "request", level = "own", "x");
        });
        let expected = "level=info msg=x app_id=caller fields.level=own instance=other scope=dapr.runtime type=request ver=unknown";
        assert_eq!(printed, [expected]);
    }

    #[test]
    fn a_log_file_is_appended_to() {
        let directory = std::env::temp_dir().join(format!(
            "outrigger-log-{}-{}",
            std::process::id(),
            fastrand::u64(..)
        ));
        std::fs::create_dir(&directory).unwrap();
        let file = directory.join("sidecar.log");
        std::fs::write(&file, "before\n").unwrap();
        let to_file = LogSettings {
            file: Some(file.clone()),
            ..settings()
        };
        let logger = Logger::open(&to_file).unwrap();
        tracing::subscriber::with_default(logger, || tracing::info!(target: "dapr.runtime", "after"));
        let written = std::fs::read_to_string(&file).unwrap();
        assert!(
            written.starts_with("before\ntime=\"") && written.contains("msg=after"),
            "{written}"
        );
        let missing = LogSettings {
            file: Some(directory.join("no/such.log")),
            ..settings()
        };
        let error = Logger::open(&missing).unwrap_err().to_string();
        assert!(error.starts_with("failed to open log file "), "{error}");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
