use super::cel_rule::RuleProgram;
use super::evaluate::Evaluation;
use super::fault::RuleFault;
use super::pattern::RulePatterns;
use super::value::Val;
use super::{CelRule, check};
use crate::finding::Findings;
use crate::structural::Structural;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

/// Evaluates the rules of a schema for a resource.
fn checked(schema: &Structural, resource: &Value) -> Findings {
    check(schema, resource, 100, &AtomicBool::new(false))
}

fn ruled(schema: &Value, rule: &Value, value: &Value) -> (Vec<String>, usize) {
    let mut schema = schema.clone();
    schema["x-kubernetes-validations"] = json!([rule]);
    let root = json!({"properties": {"spec": schema}});
    let outcome = checked(&Structural::read(&root), &json!({"spec": value}));
    let found = outcome.list.into_iter();
    let found = found.map(|finding| format!("{}: {}", finding.path, finding.message));
    (found.collect(), outcome.skipped_rules)
}

/// Evaluates a rule for a value without its own schema.
fn holds(rule: &str, value: &Value) -> bool {
    let (found, skipped) = ruled(&json!({}), &json!({"rule": rule}), value);
    assert_eq!(skipped, 0, "{rule}");
    assert!(
        found.iter().all(|found| found.contains("failed rule")),
        "{found:?}"
    );
    found.is_empty()
}

#[test]
fn the_language_is_evaluated() {
    let value = json!({
        "min": 1, "max": 5, "name": "web-1", "list": [3, 1, 2], "map": {"a": 1}, "on": true,
        "items": [{"name": "a", "n": 1}, {"name": "b", "n": 2}], "none": null, "ratio": 0.5,
    });
    for rule in [
        "self.min <= self.max",
        "self.min + 2 * 3 - 1 == 6 && 7 / 2 == 3 && 7 % 4 == 3 && -self.min < 0",
        "has(self.min) && !has(self.gone)",
        "!has(self.gone) || self.gone > 3",
        "self.on ? self.min == 1 : self.gone == 1",
        "self.name.startsWith('web') && self.name.endsWith('1') && self.name.contains('-')",
        "self.name.matches('^[a-z]+-[0-9]$') && size(self.name) == 5 && self.name.size() == 5",
        "self.list.all(x, x > 0) && self.list.exists(x, x == 2) && self.list.exists_one(x, x == 3)",
        "self.list.map(x, x * 2) == [6, 2, 4] && self.list.filter(x, x > 1).size() == 2",
        "self.list.map(x, x > 1, x * 10) == [30, 20]",
        "2 in self.list && !(9 in self.list) && 'a' in self.map",
        "self.list[0] == 3 && self.map['a'] == 1 && self.items[1].name == 'b'",
        "self.items.all(x, self.items.exists_one(y, y.name == x.name))",
        "self.items.map(x, x.n).sum() == 3 && self.list.max() == 3 && self.list.min() == 1",
        "!self.list.isSorted() && self.list.indexOf(2) == 2",
        "self.map == {'a': 1} && self.list != [1] && [1, 2] + [3] == [1, 2, 3]",
        "self.ratio > 0 && self.ratio < 1 && self.ratio == 0.5 && self.min < 1.5",
        "self.none == null && type(self.min) == int && string(self.min) == '1' && int('4') == 4",
        "self.name.split('-') == ['web', '1'] && ['a', 'b'].join(',') == 'a,b'",
        "self.name.replace('web', 'db') == 'db-1' && self.name.substring(0, 3) == 'web'",
        "'A'.lowerAscii() == 'a' && 'a'.upperAscii() == 'A' && ' a '.trim() == 'a'",
        "self.?gone.orValue(7) == 7 && self.?min.hasValue() && self[?'min'].value() == 1",
        "duration('1h') > duration('59m') && timestamp('2026-01-31T00:00:00Z') < timestamp('2026-02-01T00:00:00Z')",
        "timestamp('2026-01-31T00:00:00Z') + duration('24h') == timestamp('2026-02-01T00:00:00Z')",
        "isQuantity('1Gi') && quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('2k').asInteger() == 2000",
        "isIP('10.0.0.1') && ip('::1').family() == 6 && cidr('10.0.0.0/8').containsIP('10.1.2.3')",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && isURL('https://example.org/')",
        "sets.contains([1, 2], [1]) && sets.intersects(self.list, [1]) && dyn(self.min) == 1",
        "'a1b2'.findAll('[0-9]') == ['1', '2'] && 'a1'.find('[0-9]') == '1'",
        "false && self.gone || true",
        "self.items.exists(x, x.gone == 1 || true)",
        "b'a'.size() == 1 && 1u < 2u && 'x' + 'y' == 'xy' && r'\\d' == '\\\\d'",
    ] {
        assert!(holds(rule, &value), "{rule}");
        assert!(!holds(&format!("!({rule})"), &value), "not {rule}");
    }
}

#[test]
fn types_follow_the_schema() {
    let schema = json!({"type": "object", "properties": {
        "ratio": {"type": "number"}, "time": {"type": "string", "format": "date-time"},
        "wait": {"type": "string", "format": "duration"}, "with-dash": {"type": "integer"},
        "namespace": {"type": "string"}, "data": {"type": "string", "format": "byte"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    }});
    let value = json!({"ratio": 1, "time": "2026-01-31T00:00:00Z", "wait": "90s", "with-dash": 3,
        "namespace": "x", "data": "YWI=", "labels": {"a__b": "c"}});
    for rule in [
        "self.ratio / 2.0 == 0.5",
        "self.time < timestamp('2027-01-01T00:00:00Z') && self.wait == duration('1m30s')",
        "self.with__dash__dash == 3 || self.with__dash__ == 3 || has(self.with__dash__dash)",
        "self.__namespace__ == 'x' && self.data.size() == 2",
        "self.labels.all(k, self.labels[k] == 'c') && self.labels.a__b == 'c'",
    ] {
        let (found, skipped) = ruled(&schema, &json!({"rule": rule}), &value);
        assert_eq!((found, skipped), (Vec::new(), 0), "{rule}");
    }
}

#[test]
fn a_rule_that_does_not_hold_has_its_own_message_and_place() {
    let value = json!({"min": 5, "max": 1});
    let found = |rule: Value| ruled(&json!({}), &rule, &value).0;
    let rule = "self.min <= self.max";
    assert_eq!(
        found(json!({"rule": rule})),
        ["spec: failed rule: self.min <= self.max"]
    );
    assert_eq!(
        found(json!({"rule": rule, "message": "min above max", "fieldPath": ".min"})),
        ["spec.min: min above max"]
    );
    assert_eq!(
        found(
            json!({"rule": rule, "messageExpression": "'not above ' + string(self.max)", "message": "x"})
        ),
        ["spec: not above 1"]
    );
    assert_eq!(
        found(json!({"rule": "self.gone == 1"})),
        ["spec: rule \"self.gone == 1\" cannot be evaluated: no such key: gone"]
    );
}

#[test]
fn times_and_durations_out_of_range_fail_the_rule() {
    let schema = json!({"items": {"type": "string", "format": "duration"}});
    let value = json!(vec!["99999999999999999999 weeks"; 3_000]);
    for (rule, reason) in [
        (
            "timestamp('2026-01-01T00:00:00+9223372036854775807:00') > timestamp('2026-01-01T00:00:00Z')",
            "is not a time",
        ),
        ("self.sum() > self[0]", "the number is out of range"),
    ] {
        let (found, skipped) = ruled(&schema, &json!({"rule": rule}), &value);
        assert_eq!((found.len(), skipped), (1, 0), "{found:?}");
        assert!(found[0].contains(reason), "{found:?}");
    }
}

#[test]
fn what_cannot_be_evaluated_here_is_counted() {
    for rule in [
        json!({"rule": "self == oldSelf"}),
        json!({"rule": "self.x.notYetInvented()"}),
        json!({"rule": "notYetInvented(self)"}),
        json!({"rule": "self ==="}),
    ] {
        assert_eq!(
            ruled(&json!({}), &rule, &json!({"x": "a"})),
            (Vec::new(), 1),
            "{rule}"
        );
    }
    let optional =
        json!({"rule": "!oldSelf.hasValue() || self == oldSelf.value()", "optionalOldSelf": true});
    assert_eq!(
        ruled(&json!({}), &optional, &json!({"x": 1})),
        (Vec::new(), 0)
    );
}

#[test]
fn rules_apply_to_items_and_entries() {
    let rule = json!([{"rule": "self > 0"}]);
    let schema = Structural::read(&json!({"properties": {
        "list": {"items": {"x-kubernetes-validations": rule}},
        "map": {"additionalProperties": {"x-kubernetes-validations": rule}},
    }}));
    let outcome = checked(&schema, &json!({"list": [1, 0], "map": {"a": -1, "b": 2}}));
    let paths: Vec<&str> = outcome
        .list
        .iter()
        .map(|finding| finding.path.as_str())
        .collect();
    assert_eq!(paths, ["list[1]", "map.a"]);
}

#[test]
fn the_cost_of_a_rule_is_limited() {
    let list: Value = (0..3000).collect();
    for rule in [
        "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))",
        "self.map(a, self.map(b, string(a) + string(b))).size() > 0",
        "self.all(a, self == self)",
        "'x'.matches('(((((a{9}){9}){9}){9}){9})')",
        "sets.contains(self, self)",
        "sets.equivalent(self, self)",
        "!sets.intersects(self, self.map(a, -1 - a))",
        // A hundred large patterns.
        "self.all(a, a >= 100 || !'x'.matches(r'[\\p{L}]{4}' + string(a)))",
    ] {
        let start = std::time::Instant::now();
        let (found, _) = ruled(&json!({}), &json!({"rule": rule}), &list);
        assert_eq!(found.len(), 1, "{rule}");
        assert!(
            found[0].contains("takes too long") || found[0].contains("is not a pattern"),
            "{found:?}"
        );
        assert!(start.elapsed().as_secs() < 20, "{rule}");
    }
    for rule in [
        "self.map(a, a + 1).size() == 3000",
        "sets.contains(self, [0, 1, 2])",
        // Copies of a long text share it.
        "[self.map(a, 'a long text').join()].all(text, self.map(a, text).size() == 3000)",
        "self.all(a, string(a).matches(r'^[\\p{N}]{1,4}$'))",
    ] {
        let outcome = ruled(&json!({}), &json!({"rule": rule}), &list);
        assert_eq!(outcome, (Vec::new(), 0), "{rule}");
    }
}

#[test]
fn a_pattern_is_compiled_once_for_all_values_of_a_resource() {
    let rule = json!([{"rule": "self.matches(r'^[\\p{L}]{1,4}$')"}]);
    let schema = Structural::read(&json!({"items": {"x-kubernetes-validations": rule}}));
    let list: Value = (0..3000).map(|_| "abc").collect();
    assert!(checked(&schema, &list).list.is_empty());
}

#[test]
fn findings_over_the_limit_are_counted_and_quote_the_beginning_of_a_rule() {
    let long = "x".repeat(15_000);
    for rule in [
        json!({"rule": format!("self == '{long}'")}),
        json!({"rule": format!("self.size() > {} ? true : '{long}'", i64::MAX)}),
        json!({"rule": format!("duration(self) > duration('1s') || self == '{long}'")}),
    ] {
        let schema = json!({"items": {"x-kubernetes-validations": [rule]}});
        let list: Value = (0..10_000).map(|_| "a").collect();
        let outcome = checked(&Structural::read(&schema), &list);
        assert_eq!(outcome.list.len(), 100);
        assert!(outcome.more > 0);
        for finding in &outcome.list {
            assert!(finding.message.len() < 1_000, "{}", finding.message);
            assert!(finding.message.contains('…'), "{}", finding.message);
        }
    }
    // All are counted if there are enough steps.
    let schema = json!({"items": {"x-kubernetes-validations": [{"rule": "self == 'b'"}]}});
    let list: Value = (0..10_000).map(|_| "a").collect();
    let outcome = checked(&Structural::read(&schema), &list);
    assert_eq!((outcome.list.len(), outcome.more), (100, 9_900));
    assert_eq!(outcome.list[99].message, "failed rule: self == 'b'");

    let own = json!({"rule": "false", "message": "é".repeat(5_000)});
    let (found, _) = ruled(&json!({}), &own, &json!(1));
    assert!(
        found[0].len() < 2_100 && found[0].ends_with("éé…"),
        "{found:?}"
    );
}

#[test]
fn rules_end_with_the_steps_of_the_resource() {
    let rule = json!([{"rule": "sets.contains(self, self)"}]);
    let schema = json!({"items": {"x-kubernetes-validations": rule}});
    let list: Value = (0..20).map(|_| (0..2_000).collect::<Value>()).collect();
    let outcome = checked(&Structural::read(&schema), &list);
    assert_eq!((outcome.list.len(), outcome.more), (10, 0));
    assert!(outcome.list[9].message.contains("takes too long"));
}

#[test]
fn a_flag_ends_the_evaluation() {
    let rule = CelRule::read(&json!({"rule": "self.all(a, a > 0)"})).expect("a rule");
    let RuleProgram::Parsed(program) = &rule.program else {
        panic!("{:?}", rule.program);
    };
    let list = json!([1, 2, 3]);
    let stop = AtomicBool::new(false);
    let own = Val::wrap(&list, None);
    let mut evaluation = Evaluation::new(own, 1_000_000, RulePatterns::new(), &stop);
    assert_eq!(evaluation.run(program), Ok(Val::Bool(true)));
    stop.store(true, Ordering::Relaxed);
    assert_eq!(evaluation.run(program), Err(RuleFault::Cost));
    assert_eq!(evaluation.left(), 0);

    // The values that follow are not evaluated, either.
    let schema = json!({"items": {"x-kubernetes-validations": [{"rule": "self > 3"}]}});
    let outcome = check(&Structural::read(&schema), &list, 100, &stop);
    assert_eq!(outcome, Findings::default());
}

#[test]
fn hostile_rules_are_refused_without_a_panic() {
    for rule in [
        "(".repeat(100_000),
        "!".repeat(15_000) + "true",
        format!("{}1{}", "[".repeat(5000), "]".repeat(5000)),
        "a.".repeat(5000) + "b",
        "1 + ".repeat(3000) + "1",
        "'\\".to_owned(),
        "self.all(".to_owned(),
        "\u{0}".to_owned(),
    ] {
        let (found, skipped) = ruled(&json!({}), &json!({"rule": rule}), &json!(1));
        assert!(found.len() + skipped <= 1);
    }
}
