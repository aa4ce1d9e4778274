//! What the sandbox finds in each environment, and what it refuses.

use std::time::Duration;

use dunlin_node::sandbox::{Environment, Step};
use dunlin_node::task::{Layer, Level, Network, Outcome};

use super::cases::cases;
use super::harness::{Case, here, skip};
use super::house::{House, out};

pub(crate) const ALL: &[Case] = cases![
    each_environment_holds_what_its_page_says,
    launches_below_the_required_level_are_refused_in_words,
    an_owner_may_want_less_than_the_machine_holds,
    every_level_ends_tasks_in_the_same_ways,
    the_plan_is_what_the_findings_say,
    a_folder_that_may_be_passed_gives_each_task_a_user,
];

fn each_environment_holds_what_its_page_says() {
    let house = House::new();
    let findings = house.sandbox.findings();
    for missing in &findings.missing {
        assert!(!missing.reason.is_empty(), "{missing:?}");
    }
    println!("{}: {}; held {:?}", here().as_str(), findings.level, findings.held);
    if findings.landlock() < 6 || !findings.holds(Layer::Seccomp) {
        skip("this kernel has no Landlock 6 or no seccomp: the page is about those that have");
    }
    let expected = match here() {
        Environment::Root | Environment::User | Environment::MaskedProc | Environment::PoorRoot => Level::Full,
        Environment::Container | Environment::UserInContainer | Environment::NoUserNamespaces | Environment::NoMounts => {
            Level::Partial
        }
    };
    if expected == Level::Full && findings.level < Level::Full {
        let why = findings.missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        skip(&format!("this machine gives its ordinary users no namespaces: {why}"));
    }
    assert_eq!(findings.level, expected, "{findings:?}");
    assert_eq!(findings.holds(Layer::FreshProc), expected == Level::Full && here() != Environment::MaskedProc);
    assert_eq!(findings.holds(Layer::UidPerSlot), matches!(here(), Environment::Root | Environment::Container));
    let namespaces = findings.missing.iter().find(|missing| missing.layer == Layer::PidNamespace);
    match here() {
        Environment::NoUserNamespaces => assert!(namespaces.unwrap().remedy.contains("max_user_namespaces"), "{namespaces:?}"),
        Environment::Container | Environment::UserInContainer => {
            assert!(namespaces.unwrap().remedy.contains("seccomp"), "{namespaces:?}");
        }
        Environment::NoMounts => {
            assert!(namespaces.unwrap().reason.starts_with("namespaces were made, but could not"), "{namespaces:?}");
        }
        _ => assert_eq!(namespaces, None),
    }
}

fn launches_below_the_required_level_are_refused_in_words() {
    let house = House::with(|config| config.at_most = Level::ProcessOnly);
    let report = house.run(&["true"], |launch| launch.isolation.require = Level::Full);
    assert!(matches!(report.outcome, Outcome::LevelRefused { required: Level::Full, found: Level::ProcessOnly, .. }));
    assert!(report.outcome.to_string().starts_with("not started: level full is required and this node holds process-only"));
    let owner = House::with(|config| {
        config.at_most = Level::ProcessOnly;
        config.require = Level::Partial;
    });
    assert!(matches!(owner.run(&["true"], |_| {}).outcome, Outcome::LevelRefused { required: Level::Partial, .. }));
    owner.no_scratch_is_left();
    let report = house.run(&["true"], |launch| launch.isolation.network = Network::None);
    assert!(
        matches!(&report.outcome, Outcome::SetupFailed { step, .. } if step == "give it network none"),
        "{:?}",
        report.outcome
    );
}

fn an_owner_may_want_less_than_the_machine_holds() {
    for level in Level::ALL {
        let house = House::with(|config| config.at_most = level);
        assert!(house.sandbox.level() <= level);
        assert_eq!(house.run(&["true"], |_| {}).outcome, Outcome::Exited(0));
    }
}

fn every_level_ends_tasks_in_the_same_ways() {
    for level in Level::ALL {
        let house = House::with(|config| config.at_most = level);
        assert_eq!(house.run(&["sh", "-c", "kill -SEGV $$"], |_| {}).outcome, Outcome::Signaled(11), "{level}");
        let limit = Duration::from_millis(100);
        let report = house.run(&["sleep", "100"], |launch| launch.limits.wall = Some(limit));
        assert_eq!(report.outcome, Outcome::TimedOut { limit }, "{level}");
        let report = house.run(&["sh", "-c", "setsid sleep 100 & exit 3"], |_| {});
        assert_eq!(report.outcome, Outcome::Exited(3), "{level}");
        assert!(matches!(house.run(&["nothing"], |_| {}).outcome, Outcome::NotFound(_)), "{level}");
        assert_eq!(out(&house.run(&["cat", "/proc/self/oom_score_adj"], |_| {})), "1000\n", "{level}");
        // The supervisor only lends the score to its target; it goes on as soon as the program has begun.
        let given_back = "while [ \"$(cat /proc/$PPID/oom_score_adj)\" = 1000 ]; do :; done";
        let report = house.run(&["sh", "-c", given_back], |launch| launch.limits.wall = Some(Duration::from_secs(20)));
        assert_eq!(report.outcome, Outcome::Exited(0), "{level}");
        assert_eq!(out(&house.run_with(&["cat"], "what it is given", |_| {})), "what it is given", "{level}");
        house.no_scratch_is_left();
    }
}

fn the_plan_is_what_the_findings_say() {
    let house = House::new();
    let plan = house.sandbox.plan(&house.launch(&["true"], |_| {})).unwrap();
    let has = |wanted: fn(&Step) -> bool| plan.surroundings.iter().chain(&plan.steps).any(wanted);
    assert_eq!(has(|step| matches!(step, Step::Landlock(_))), house.sandbox.findings().landlock() > 0);
    assert_eq!(has(|step| matches!(step, Step::Seccomp(_))), house.sandbox.findings().holds(Layer::Seccomp));
    assert_eq!(has(|step| *step == Step::PrivateMounts), house.full());
}

fn a_folder_that_may_be_passed_gives_each_task_a_user() {
    use std::os::unix::fs::PermissionsExt;
    let folder = super::house::folder();
    let mode = |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o711);
    let house = House::within(folder.path());
    let root = matches!(here(), Environment::Root | Environment::Container);
    assert_eq!(house.sandbox.findings().holds(Layer::UidPerSlot), root);
    if root {
        let told = out(&house.run(&["sh", "-c", "echo x >$PWD/tmp/file && id -u && stat -c %u $PWD/tmp/file"], |_| {}));
        let users: Vec<u32> = told.lines().map(|line| line.parse().unwrap()).collect();
        assert!(users.len() == 2 && users[0] == users[1] && users[0] >= 60_000, "{told}");
    }
    drop(house);
    mode(0o700);
    let house = House::within(folder.path());
    assert_eq!(
        house.sandbox.findings().holds(Layer::UidPerSlot),
        here() == Environment::Root,
        "mounts lead around a closed folder"
    );
    if here() == Environment::Container {
        let missing = house.sandbox.findings().missing.iter().find(|missing| missing.layer == Layer::UidPerSlot).unwrap();
        assert!(missing.remedy.starts_with("chmod o+x"), "{missing:?}");
    }
}
