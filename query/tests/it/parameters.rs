//! `$name` stands for a value that is given beside the text.

use stepwell_engine::ParamValue;
use stepwell_query::{Error, Parameter, QueryOptions, Session};

use crate::support::{Fixture, Placement, TIME, lines};

fn session() -> Session {
    let mut fixture = Fixture::new();
    for (number, lr) in [0.1, 0.2, 0.3].into_iter().enumerate() {
        let run = fixture.run("p", "s", Some(&format!("run {number}")), &[("lr", ParamValue::Float(lr))]);
        fixture.log(run, "m", "loss", &[0.5, f64::NAN, lr]);
    }
    fixture.session(Placement::Split)
}

fn ask(sql: &str, parameters: &[(&str, Parameter)]) -> Result<Vec<String>, Error> {
    let options = parameters
        .iter()
        .fold(QueryOptions::default(), |options, (name, value)| options.with_parameter(name, value.clone()));
    session().sql_with(sql, &options).map(|result| lines(&result))
}

fn answer(sql: &str, parameters: &[(&str, Parameter)]) -> Vec<String> {
    ask(sql, parameters).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

#[test]
fn values_of_each_type_arrive_as_they_are() {
    let sql = "SELECT $x IS NULL, arrow_typeof($x), $x";
    for (value, shown) in [
        (Parameter::Null, "true|Null|null"),
        (true.into(), "false|Boolean|true"),
        (i64::MIN.into(), "false|Int64|-9223372036854775808"),
        ((1_i64 << 53).into(), "false|Int64|9007199254740992"),
        (5.0.into(), "false|Float64|5.0"),
        (1e-7.into(), "false|Float64|1e-7"),
        (f64::MIN_POSITIVE.into(), "false|Float64|2.2250738585072014e-308"),
        (f64::NAN.into(), "false|Float64|NaN"),
        (f64::NEG_INFINITY.into(), "false|Float64|-inf"),
        ("".into(), "false|Utf8|"),
        ("it's; DROP TABLE \"x\" -- $y".into(), "false|Utf8|it's; DROP TABLE \"x\" -- $y"),
    ] {
        assert_eq!(answer(sql, &[("x", value)]), [shown]);
    }
    let time = [("t", Parameter::Time(TIME + 1))];
    assert_eq!(answer("SELECT count(*) FROM metrics WHERE time = $t", &time), ["3"]);
    assert_eq!(answer("SELECT $list[2]", &[("list", vec![7, 8].into())]), ["8"]);
}

#[test]
fn a_parameter_may_stand_wherever_a_literal_may() {
    let lr = [("lr", Parameter::from(0.2))];
    let by_lr = "SELECT r.name FROM runs r WHERE r.params['lr'] = $lr";
    assert_eq!(answer(by_lr, &lr), ["run 1"]);
    assert_eq!(
        answer("SELECT params[$key] FROM runs ORDER BY name LIMIT $n", &[("key", "lr".into()), ("n", 1.into())]),
        ["0.1"]
    );
    let nested = "SELECT count(*) FROM metrics WHERE value = $lr AND run_id IN (SELECT run_id FROM runs WHERE params['lr'] = $lr)";
    assert_eq!(answer(nested, &lr), ["1"]);
    assert_eq!(answer("SELECT sum(value) FROM generate_series(1, $n)", &[("n", 4.into())]), ["10"]);
    assert!(answer("EXPLAIN SELECT * FROM metrics WHERE value = $lr", &lr).concat().contains("0.2"));
    assert_eq!(answer("SELECT $1 + $2", &[("1", 2.into()), ("$2", 3.into())]), ["5"]);
}

#[test]
fn a_list_is_the_members_of_in() {
    let names = [("names", Parameter::from(vec!["run 0", "run 2", "it's none"]))];
    let sql = "SELECT name FROM runs WHERE name IN ($names) ORDER BY name";
    assert_eq!(answer(sql, &names), ["run 0", "run 2"]);
    assert_eq!(answer("SELECT name FROM runs WHERE name NOT IN ($names)", &names), ["run 1"]);
    assert_eq!(answer("SELECT count(*) FROM runs WHERE name = ANY($names)", &names), ["2"]);
    let mixed = [("steps", Parameter::from(vec![0, 1])), ("last", 2.into())];
    assert_eq!(answer("SELECT count(*) FROM metrics WHERE step IN ($steps, $last)", &mixed), ["9"]);
    let none = [("names", Parameter::List(Vec::new()))];
    assert_eq!(answer("SELECT count(*) FROM runs WHERE name IN ($names)", &none), ["0"]);
}

#[test]
fn a_parameter_too_few_or_too_many_is_told() {
    let error = ask("SELECT $learning_rate", &[("learning_rat", 1.into())]).expect_err("it is missing");
    assert!(error.is_invalid_input());
    assert_eq!(
        error.to_string(),
        "the query asks for $learning_rate, and no value was given for it; did you mean \"learning_rat\"?; given: learning_rat"
    );
    let error = ask("SELECT $a", &[]).expect_err("it is missing");
    assert_eq!(error.to_string(), "the query asks for $a, and no value was given for it");
    let error = ask("SELECT 1", &[("a", 1.into())]).expect_err("it is not used");
    assert!(error.is_invalid_input() && error.to_string().contains("$a"), "{error}");
}
