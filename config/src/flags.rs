//! A Go-style flag set: options bound to the places their values go to.
//!
//! Options are long, with one dash or two. `--name value` and `--name=value` are the same, but a boolean takes a value only behind
//! `=`. List options split at commas and add up when repeated. Arguments that are no option are ignored,
//! and so is everything behind `--`.

use std::collections::BTreeMap;
use std::fmt::Write;

use outrigger_kit::duration::{self, GoDuration};
use outrigger_kit::quote::go_quote;
use outrigger_kit::{boolean, csv, number};

/// Options of one program while they are declared and read.
#[derive(Debug)]
pub struct FlagSet<'a> {
    program: &'static str,
    flags: BTreeMap<&'static str, Flag<'a>>,
}

/// One declared option.
#[derive(Debug)]
pub struct Flag<'a> {
    help: &'static str,
    target: Target<'a>,
    shown_default: String,
    hidden: bool,
    deprecated: Option<&'static str>,
    given: bool,
}

/// Options that were read, and what is to be told about them on stderr.
#[derive(Clone, Debug)]
pub struct Parsed<F> {
    /// The values.
    pub flags: F,
    /// Lines for stderr: `Flag --<name> has been deprecated, <hint>`.
    pub notices: Vec<String>,
}

/// Why a program does not start with the arguments it was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// The usage was asked for: print this to stderr and exit with 0.
    #[error("{usage}")]
    Help {
        /// The usage of the program.
        usage: String,
    },
    /// An option is unknown or its value cannot be read: print this to stderr and exit with 2.
    #[error("{message}\n{usage}")]
    Usage {
        /// What is wrong, in one line.
        message: String,
        /// The usage of the program.
        usage: String,
    },
    /// A value has the right form but makes no sense: log this as fatal and exit with 1.
    #[error("Failed to parse flags: {0}")]
    Value(String),
}

/// The place a value goes to, which also says how it is read.
#[derive(Debug)]
enum Target<'a> {
    Bool(&'a mut bool),
    OptionalBool(&'a mut Option<bool>),
    Text(&'a mut String),
    OptionalText(&'a mut Option<String>),
    Integer(&'a mut i64),
    OptionalInteger(&'a mut Option<i64>),
    Unsigned(&'a mut u64),
    Duration(&'a mut GoDuration),
    OptionalDuration(&'a mut Option<GoDuration>),
    List(&'a mut Vec<String>),
}

// === impl FlagError ===

impl FlagError {
    /// Exit status of the program: 0 for help, 2 for a wrong option, 1 for a value that makes no sense.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Help { .. } => 0,
            Self::Usage { .. } => 2,
            Self::Value(_) => 1,
        }
    }
}

// === impl FlagSet ===

macro_rules! declare {
    ($($(#[$doc:meta])* $method:ident => $variant:ident($type:ty), $shown:expr;)*) => {
        $($(#[$doc])*
        pub fn $method(&mut self, name: &'static str, target: &'a mut $type, help: &'static str) -> &mut Flag<'a> {
            let shown: fn(&$type) -> String = $shown;
            let shown_default = shown(target);
            self.declare(name, Target::$variant(target), shown_default, help)
        })*
    };
}

impl<'a> FlagSet<'a> {
    /// A set without options for a program of this name.
    #[must_use]
    pub const fn new(program: &'static str) -> Self {
        Self {
            program,
            flags: BTreeMap::new(),
        }
    }

    declare! {
        /// Declares a boolean; bare means true. The present value of `target` is the default.
        bool => Bool(bool), |value| if *value { "true".to_owned() } else { String::new() };
        /// Declares a boolean that may stay unset.
        optional_bool => OptionalBool(Option<bool>), |_| String::new();
        /// Declares a text. The present value of `target` is the default.
        text => Text(String), |value| if value.is_empty() { String::new() } else { go_quote(value) };
        /// Declares a text that may stay unset.
        optional_text => OptionalText(Option<String>), |_| String::new();
        /// Declares a whole number. The present value of `target` is the default.
        integer => Integer(i64), |value| if *value == 0 { String::new() } else { value.to_string() };
        /// Declares a whole number that may stay unset.
        optional_integer => OptionalInteger(Option<i64>), |_| String::new();
        /// Declares a whole number without sign. The present value of `target` is the default.
        unsigned => Unsigned(u64), |value| if *value == 0 { String::new() } else { value.to_string() };
        /// Declares a Go duration. The present value of `target` is the default.
        duration => Duration(GoDuration), |value| if *value == GoDuration::ZERO { String::new() } else { value.to_string() };
        /// Declares a Go duration that may stay unset.
        optional_duration => OptionalDuration(Option<GoDuration>), |_| String::new();
        /// Declares a list; the first value given replaces the default, later ones add to it.
        list => List(Vec<String>), |value| if value.is_empty() { String::new() } else { format!("[{}]", value.join(",")) };
    }

    /// Reads the arguments of the program (without its name) into the declared targets.
    ///
    /// Returns the notices about deprecated options, in the order the options were given.
    ///
    /// # Errors
    /// [`FlagError::Help`] for `--help` and `-h`, [`FlagError::Usage`] for what cannot be read.
    pub fn parse(mut self, args: impl IntoIterator<Item = String>) -> Result<Vec<String>, FlagError> {
        let mut args = args.into_iter();
        let mut notices = Vec::new();
        while let Some(argument) = args.next() {
            if argument == "--" {
                break;
            }
            let Some(option) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
                continue;
            };
            // A dash and one letter is a short option, of which there are none but the one for help.
            let option = match option.strip_prefix('-') {
                Some(long) => long,
                None if option.chars().count() > 1 => option,
                None if option == "h" => return Err(FlagError::Help { usage: self.usage() }),
                None => return Err(self.misuse(format!("unknown shorthand flag: '{option}' in {argument}"))),
            };
            if option.is_empty() || option.starts_with(['-', '=']) {
                return Err(self.misuse(format!("bad flag syntax: {argument}")));
            }
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (option, None),
            };
            if let Some(notice) = self.take(name, value, &mut args)? {
                notices.push(notice);
            }
        }
        Ok(notices)
    }

    /// The usage of the program: one line per option that is not hidden, sorted by name.
    #[must_use]
    pub fn usage(&self) -> String {
        let shown = self.flags.iter().filter(|(_, flag)| !flag.hidden);
        let lines: Vec<_> = shown
            .map(|(name, flag)| (format!("      --{name}{}", flag.target.type_word()), flag))
            .collect();
        let width = lines.iter().map(|(left, _)| left.len()).max().unwrap_or(0) + 3;
        let mut usage = format!("Usage of {}:\n", self.program);
        for (left, flag) in lines {
            write!(usage, "{left:width$}{}", flag.help).expect("writing to a string cannot fail");
            if !flag.shown_default.is_empty() {
                write!(usage, " (default {})", flag.shown_default).expect("writing to a string cannot fail");
            }
            usage.push('\n');
        }
        usage
    }

    /// Every option, those that the usage leaves out included: one line each, sorted by name.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::new();
        for (name, flag) in &self.flags {
            let kind = match flag.target.type_word() {
                "" => " bool",
                word => word,
            };
            let default = match flag.shown_default.as_str() {
                "" => String::new(),
                shown => format!(" = {shown}"),
            };
            let note = match flag.deprecated {
                Some(hint) => format!(" [deprecated: {hint}]"),
                None if flag.hidden => " [hidden]".to_owned(),
                None => String::new(),
            };
            writeln!(table, "--{name}{kind}{default}{note}\n    {}", flag.help)
                .expect("writing to a string cannot fail");
        }
        table
    }

    fn declare(
        &mut self,
        name: &'static str,
        target: Target<'a>,
        shown_default: String,
        help: &'static str,
    ) -> &mut Flag<'a> {
        let flag = Flag {
            help,
            target,
            shown_default,
            hidden: false,
            deprecated: None,
            given: false,
        };
        self.flags.entry(name).insert_entry(flag).into_mut()
    }

    /// Stores the value of one option; returns the notice if it is deprecated.
    fn take(
        &mut self,
        name: &str,
        value: Option<String>,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<Option<String>, FlagError> {
        let Some(flag) = self.flags.get_mut(name) else {
            return Err(match name {
                "help" | "h" => FlagError::Help { usage: self.usage() },
                _ => self.misuse(format!("unknown flag: --{name}")),
            });
        };
        let value = match value {
            Some(value) => value,
            None if flag.target.is_bool() => "true".to_owned(),
            None => match rest.next() {
                Some(value) => value,
                None => return Err(self.misuse(format!("flag needs an argument: --{name}"))),
            },
        };
        match flag.store(&value) {
            Ok(()) => Ok(flag
                .deprecated
                .map(|hint| format!("Flag --{name} has been deprecated, {hint}"))),
            Err(cause) => Err(self.misuse(format!(
                "invalid argument {} for \"--{name}\" flag: {cause}",
                go_quote(&value)
            ))),
        }
    }

    fn misuse(&self, message: String) -> FlagError {
        FlagError::Usage {
            message,
            usage: self.usage(),
        }
    }
}

// === impl Flag ===

impl Flag<'_> {
    /// Leaves the option out of the usage.
    pub const fn hidden(&mut self) -> &mut Self {
        self.hidden = true;
        self
    }

    /// Leaves the option out of the usage and tells `hint` when it is used.
    pub const fn deprecated(&mut self, hint: &'static str) -> &mut Self {
        self.deprecated = Some(hint);
        self.hidden()
    }

    /// Shows this default in the usage, for options that may stay unset.
    pub fn shown_default(&mut self, text: &str) -> &mut Self {
        text.clone_into(&mut self.shown_default);
        self
    }

    fn store(&mut self, value: &str) -> Result<(), String> {
        let first = !std::mem::replace(&mut self.given, true);
        match &mut self.target {
            Target::Bool(target) => **target = read_bool(value)?,
            Target::OptionalBool(target) => **target = Some(read_bool(value)?),
            Target::Text(target) => value.clone_into(target),
            Target::OptionalText(target) => **target = Some(value.to_owned()),
            Target::Integer(target) => **target = number::parse_int(value).map_err(|e| e.to_string())?,
            Target::OptionalInteger(target) => {
                **target = Some(number::parse_int(value).map_err(|e| e.to_string())?);
            }
            Target::Unsigned(target) => **target = number::parse_uint(value).map_err(|e| e.to_string())?,
            Target::Duration(target) => **target = duration::parse_go(value).map_err(|e| e.to_string())?,
            Target::OptionalDuration(target) => {
                **target = Some(duration::parse_go(value).map_err(|e| e.to_string())?);
            }
            Target::List(target) => {
                let values = csv::split(value).map_err(|e| e.to_string())?;
                if first {
                    target.clear();
                }
                target.extend(values);
            }
        }
        Ok(())
    }
}

// === impl Target ===

impl Target<'_> {
    const fn is_bool(&self) -> bool {
        matches!(self, Self::Bool(_) | Self::OptionalBool(_))
    }

    const fn type_word(&self) -> &'static str {
        match self {
            Self::Bool(_) | Self::OptionalBool(_) => "",
            Self::Text(_) | Self::OptionalText(_) => " string",
            Self::Integer(_) | Self::OptionalInteger(_) => " int",
            Self::Unsigned(_) => " uint",
            Self::Duration(_) | Self::OptionalDuration(_) => " duration",
            Self::List(_) => " strings",
        }
    }
}

fn read_bool(value: &str) -> Result<bool, String> {
    boolean::parse_strict(value)
        .ok_or_else(|| format!("strconv.ParseBool: parsing {}: invalid syntax", go_quote(value)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Options {
        name: String,
        on: bool,
        maybe: Option<bool>,
        count: i64,
        width: u64,
        wait: GoDuration,
        block: Option<GoDuration>,
        list: Vec<String>,
        old: String,
    }

    fn parse(args: &[&str]) -> Result<(Options, Vec<String>), FlagError> {
        let mut options = Options {
            name: "n0".to_owned(),
            list: vec!["d".to_owned()],
            ..Options::default()
        };
        let mut set = FlagSet::new("prog");
        set.text("name", &mut options.name, "a name");
        set.bool("on", &mut options.on, "a switch");
        set.optional_bool("maybe", &mut options.maybe, "a switch that may stay unset");
        set.integer("count", &mut options.count, "a number");
        set.unsigned("width", &mut options.width, "a number without sign");
        set.duration("wait", &mut options.wait, "a time");
        set.optional_duration("block", &mut options.block, "a time that may stay unset");
        set.list("list", &mut options.list, "a list");
        set.text("old", &mut options.old, "gone").deprecated("use name");
        let notices = set.parse(args.iter().map(|arg| (*arg).to_owned()))?;
        Ok((options, notices))
    }

    fn message(args: &[&str]) -> String {
        match parse(args).unwrap_err() {
            FlagError::Usage { message, usage } => {
                assert!(usage.starts_with("Usage of prog:\n"));
                message
            }
            other => panic!("not a misuse: {other:?}"),
        }
    }

    #[test]
    fn one_dash_and_two_are_the_same() {
        for args in [
            ["-name", "x"].as_slice(),
            &["--name", "x"],
            &["--name=x"],
            &["-name=x"],
        ] {
            assert_eq!(parse(args).unwrap().0.name, "x");
        }
    }

    #[test]
    fn booleans_take_a_value_only_behind_an_equals_sign() {
        assert!(parse(&["--on"]).unwrap().0.on);
        assert!(!parse(&["--on", "--on=false"]).unwrap().0.on);
        let (options, _) = parse(&["--on", "false", "--count", "3"]).unwrap();
        assert!(options.on);
        assert_eq!(options.count, 3);
        assert_eq!(parse(&["--maybe=F"]).unwrap().0.maybe, Some(false));
        assert_eq!(parse(&[]).unwrap().0.maybe, None);
    }

    #[test]
    fn values_may_look_like_options() {
        assert_eq!(parse(&["--count", "-1"]).unwrap().0.count, -1);
        assert_eq!(parse(&["--count", "-10"]).unwrap().0.count, -10);
        assert_eq!(parse(&["--name", "--on"]).unwrap().0.name, "--on");
        assert_eq!(parse(&["--name="]).unwrap().0.name, "");
        assert_eq!(parse(&["--name=a=b"]).unwrap().0.name, "a=b");
    }

    #[test]
    fn lists_replace_the_default_and_then_add_up() {
        assert_eq!(parse(&[]).unwrap().0.list, ["d"]);
        assert_eq!(
            parse(&["--list", "a,b", "--list=c"]).unwrap().0.list,
            ["a", "b", "c"]
        );
        assert_eq!(parse(&["--list", ""]).unwrap().0.list, [""; 0]);
    }

    #[test]
    fn stray_arguments_and_the_rest_after_two_dashes_are_ignored() {
        let (options, _) = parse(&["stray", "-", "--count=1", "--", "--count=2", "--nope"]).unwrap();
        assert_eq!(options.count, 1);
    }

    #[test]
    fn given_as_nothing_is_not_unset() {
        assert_eq!(parse(&["--block", "0"]).unwrap().0.block, Some(GoDuration::ZERO));
        assert_eq!(parse(&[]).unwrap().0.block, None);
        assert_eq!(parse(&["--wait=2m30s"]).unwrap().0.wait.to_string(), "2m30s");
    }

    #[test]
    fn deprecated_options_work_and_are_told() {
        let (options, notices) = parse(&["-old", "x"]).unwrap();
        assert_eq!(options.old, "x");
        assert_eq!(notices, ["Flag --old has been deprecated, use name"]);
    }

    #[test]
    fn misuse_is_named_as_go_programs_do() {
        let table: [(&[&str], &str); 12] = [
            (&["--nope"], "unknown flag: --nope"),
            (&["-nope=1"], "unknown flag: --nope"),
            (&["-x"], "unknown shorthand flag: 'x' in -x"),
            (&["--name"], "flag needs an argument: --name"),
            (&["--=x"], "bad flag syntax: --=x"),
            (&["---name"], "bad flag syntax: ---name"),
            (
                &["--count", "x"],
                r#"invalid argument "x" for "--count" flag: strconv.ParseInt: parsing "x": invalid syntax"#,
            ),
            (
                &["--width", "-1"],
                r#"invalid argument "-1" for "--width" flag: strconv.ParseUint: parsing "-1": invalid syntax"#,
            ),
            (
                &["--on=maybe"],
                r#"invalid argument "maybe" for "--on" flag: strconv.ParseBool: parsing "maybe": invalid syntax"#,
            ),
            (
                &["--wait", "5"],
                r#"invalid argument "5" for "--wait" flag: time: missing unit in duration "5""#,
            ),
            (
                &["--block", "x"],
                r#"invalid argument "x" for "--block" flag: time: invalid duration "x""#,
            ),
            (
                &["--list", "a\"b"],
                r#"invalid argument "a\"b" for "--list" flag: parse error on line 1, column 2: bare " in non-quoted field"#,
            ),
        ];
        for (args, expected) in table {
            assert_eq!(message(args), expected);
            assert_eq!(parse(args).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn help_shows_the_usage_without_hidden_options() {
        for args in [["--help"], ["-help"], ["-h"]] {
            let error = parse(&args).unwrap_err();
            assert_eq!(error.exit_code(), 0);
            let FlagError::Help { usage } = error else {
                panic!("not help")
            };
            assert!(
                usage.contains("      --name string      a name (default \"n0\")\n"),
                "{usage}"
            );
            assert!(
                usage.contains("      --list strings     a list (default [d])\n"),
                "{usage}"
            );
            assert!(!usage.contains("old"), "{usage}");
        }
    }

    proptest! {
        #[test]
        fn no_arguments_make_the_parser_panic(args in proptest::collection::vec("-{0,3}(name|on|count|list|wait|old|h|x)?=?.{0,6}", 0..6)) {
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            if let Err(error) = parse(&args) {
                prop_assert_ne!(error.exit_code(), 1);
            }
        }
    }
}
