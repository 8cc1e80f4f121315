use proptest::prelude::*;

use super::*;

const COUNTS: Counts = Counts {
    requests: 30,
    total_successes: 18,
    total_failures: 12,
    consecutive_successes: 0,
    consecutive_failures: 3,
};

fn holds(text: &str) -> bool {
    Trip::compile(text)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .holds(&COUNTS)
}

#[test]
fn conditions_on_counts_hold_or_do_not() {
    let table = [
        ("consecutiveFailures > 5", false),
        ("consecutiveFailures >= 3", true),
        ("totalFailures > 10 && requests > 20", true),
        ("totalFailures > 10 && requests > 30", false),
        ("(double(totalFailures) / double(requests)) > 0.5", false),
        ("(double(totalFailures) / double(requests)) > 0.3", true),
        ("totalFailures * 100 / requests >= 40", true),
        ("requests == totalSuccesses + totalFailures", true),
        ("requests != 30", false),
        ("!(requests < 30)", true),
        ("-requests < 0", true),
        ("requests % 7 == 2", true),
        ("consecutiveSuccesses == 0 ? requests > 29 : false", true),
        ("requests in [10, 20, 30]", true),
        ("requests in []", false),
        ("size([1, 2, 3]) == consecutiveFailures", true),
        ("[1, 2, 3][2] == consecutiveFailures", true),
        ("[1, 2][2] == 3 || true", true),
        ("uint(requests) == 30u", true),
        ("requests == 0x1e", true),
        ("double(requests) == 3e1", true),
        ("string(requests) == '30'", true),
        ("int('30') == requests", true),
        ("int(30.9) == requests", true),
        ("bool('true')", true),
        ("'b' > 'a' && \"b\" == 'b'", true),
        ("size('\\n\\'') == 2", true),
        ("true // the rest is a remark", true),
        ("dyn(requests) == 30.0", true),
        ("1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 10 - 4 - 3 == 3", true),
        ("-9223372036854775808 < 0", true),
        ("[1] + [2] == [1, 2]", true),
        ("null == null", true),
        ("true || false && false", true),
    ];
    for (text, expected) in table {
        assert_eq!(holds(text), expected, "{text}");
    }
}

#[test]
fn what_fails_or_is_no_condition_never_opens_a_breaker() {
    let table = [
        ("requests", false),
        ("requests + 1", false),
        ("'true'", false),
        ("unknown > 5", false),
        ("unknown", false),
        ("un.known.name == 1", false),
        ("unknown || requests > 1", true),
        ("requests > 1 || unknown", true),
        ("unknown && requests > 1", false),
        ("!(unknown && requests < 1)", true),
        ("requests / consecutiveSuccesses > 1", false),
        ("requests % 0 == 0", false),
        ("9223372036854775807 + requests > 0", false),
        ("uint(-1) == 0u", false),
        ("uint(1) - 2u == 0u", false),
        ("int('x') == 1", false),
        ("int(1e40) == 1", false),
        ("dyn('a') < dyn(1)", false),
        ("0.0 / 0.0 == 0.0 / 0.0", false),
        ("0.0 / 0.0 < 1.0 || 0.0 / 0.0 >= 1.0", false),
    ];
    for (text, expected) in table {
        assert_eq!(holds(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_cel_or_does_not_fit_is_refused_with_its_place() {
    let table = [
        ("", 1, "Syntax error: mismatched input <EOF> expecting a value"),
        (
            "requests >",
            11,
            "Syntax error: mismatched input <EOF> expecting a value",
        ),
        (
            "requests > 1 requests",
            14,
            "Syntax error: mismatched input 'requests' expecting end of the expression",
        ),
        (
            "(requests > 1",
            14,
            "Syntax error: mismatched input <EOF> expecting ')'",
        ),
        (
            "requests = 1",
            10,
            "Syntax error: mismatched input '=' expecting end of the expression",
        ),
        ("ü > 1", 1, "Syntax error: token recognition error at: 'ü'"),
        ("'ü' == 'ü", 8, "Syntax error: a text without an end"),
        (
            "requests > 1 and true",
            14,
            "Syntax error: mismatched input 'and' expecting end of the expression",
        ),
        (
            "requests > 1.0",
            10,
            "found no matching overload for '_>_' applied to '(int, double)'",
        ),
        (
            "totalFailures / requests > 0.5",
            26,
            "found no matching overload for '_>_' applied to '(int, double)'",
        ),
        (
            "requests && true",
            10,
            "found no matching overload for '_&&_' applied to '(int, bool)'",
        ),
        (
            "!requests",
            1,
            "found no matching overload for '!_' applied to '(int)'",
        ),
        (
            "requests == '1'",
            10,
            "found no matching overload for '_==_' applied to '(int, string)'",
        ),
        (
            "requests in ['a']",
            10,
            "found no matching overload for '@in' applied to '(int, list(string))'",
        ),
        (
            "true ? 1 : 2.0",
            6,
            "found no matching overload for '_?_:_' applied to '(bool, int, double)'",
        ),
        (
            "1.5 % 2.0 == 0.0",
            5,
            "found no matching overload for '_%_' applied to '(double, double)'",
        ),
        (
            "int([1])",
            1,
            "found no matching overload for 'int' applied to '(list(int))'",
        ),
        (
            "int(1, 2)",
            1,
            "found no matching overload for 'int': it takes one argument",
        ),
        (
            "median(requests) > 1",
            1,
            "undeclared reference to 'median' (in container '')",
        ),
        (
            "'a'.contains('a')",
            4,
            "undeclared reference to 'contains' (in container '')",
        ),
        (
            "requests.total > 1",
            9,
            "type 'int' does not support field selection",
        ),
        ("99999999999999999999 > 1", 1, "invalid int literal"),
        ("9223372036854775808 > 1", 1, "invalid int literal"),
        ("while > 1", 1, "Syntax error: reserved identifier: while"),
        (
            "{'a': 1}",
            1,
            "Syntax error: mismatched input '{' expecting a value",
        ),
    ];
    for (text, column, reason) in table {
        let error = Trip::compile(text).expect_err(text);
        assert_eq!((error.column, error.reason.as_str()), (column, reason), "{text}");
    }
    let error = Trip::compile("requests > 1.0").unwrap_err().to_string();
    assert_eq!(
        error,
        "ERROR: <input>:1:10: found no matching overload for '_>_' applied to '(int, double)'"
    );
}

#[test]
fn deep_and_long_expressions_are_refused() {
    let deep = [
        format!("{}true{}", "(".repeat(2000), ")".repeat(2000)),
        format!("{}true", "!".repeat(2001)),
        format!("{}1 > 0", "-".repeat(2001)),
        format!("1{} > 0", " + 1".repeat(1000)),
        format!("{}{}", "[".repeat(2000), "]".repeat(2000)),
        format!("{}true", "true ? true : ".repeat(200)),
        format!("x{}", ".y".repeat(1000)),
    ];
    for text in deep {
        let error = Trip::compile(&text).unwrap_err();
        assert_eq!(
            error.reason, "expression is nested more than 100 levels deep",
            "{text}"
        );
    }
    let long = " ".repeat(Trip::MAX_LENGTH) + "true";
    assert_eq!(
        Trip::compile(&long).unwrap_err().reason,
        "expression is longer than 4096 bytes"
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_compiler_panic(text in "[a-zA-Z0-9 ()\\[\\]+*/%<>=!&|?:.,'\"\\\\u-]{0,60}") {
        if let Ok(trip) = Trip::compile(&text) {
            prop_assert_eq!(trip.holds(&COUNTS), trip.holds(&COUNTS));
        }
    }

    #[test]
    fn comparisons_are_those_of_whole_numbers(failures: u32, limit: i64) {
        let counts = Counts { consecutive_failures: failures, ..Counts::default() };
        let trip = Trip::compile(&format!("consecutiveFailures > {limit}")).unwrap();
        prop_assert_eq!(trip.holds(&counts), i64::from(failures) > limit);
    }
}
