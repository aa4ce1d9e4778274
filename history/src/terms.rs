//! Who led which term (H5), as journals say it and as nodes acted on it.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::record::{NodeId, Term};
use crate::report::{Report, Rule, Subject};

#[derive(Debug, Default)]
pub(crate) struct Terms {
    leaders: BTreeMap<Term, (NodeId, u64)>,
    acted: Vec<Acted>,
}

#[derive(Clone, Debug)]
struct Acted {
    node: NodeId,
    term: Term,
    during: Range<u64>,
    record: u64,
}

impl Terms {
    /// A journal says that this node leads this term.
    pub(crate) fn opened(&mut self, number: u64, term: Term, node: NodeId, report: &mut Report) {
        let (known, record) = *self.leaders.entry(term).or_insert((node, number));
        if known != node {
            let why = format!("{node} leads it, and so does {known} (record {record})");
            report.add(Rule::H5, number, Subject::Term(term), why);
        }
    }

    /// A node acted as this term's leader.
    pub(crate) fn acted(&mut self, number: u64, term: Term, node: NodeId, during: Range<u64>, report: &mut Report) {
        self.opened(number, term, node, report);
        if !during.is_empty() {
            self.acted.push(Acted { node, term, during, record: number });
        }
    }

    /// Looks for two nodes that acted at the same moment.
    pub(crate) fn finish(mut self, report: &mut Report) {
        report.counts.terms = self.leaders.len() as u64;
        self.acted.sort_by_key(|acted| acted.during.start);
        // Of all that began earlier: the one that ended last, and the one of another node that ended last.
        let (mut longest, mut other): (Option<Acted>, Option<Acted>) = (None, None);
        for acted in self.acted {
            let rival = |one: &&Acted| one.node != acted.node && one.during.end > acted.during.start;
            if let Some(rival) = longest.iter().chain(&other).find(rival) {
                let why = format!(
                    "{} acted from {} ns on, while {} still acted in term {} until {} ns (record {})",
                    acted.node, acted.during.start, rival.node, rival.term, rival.during.end, rival.record
                );
                report.add(Rule::H5, acted.record, Subject::Term(acted.term), why);
            }
            let later = |known: &Option<Acted>| known.as_ref().is_none_or(|known| acted.during.end > known.during.end);
            let same = longest.as_ref().is_some_and(|known| known.node == acted.node);
            match (later(&longest), same) {
                (true, true) => longest = Some(acted),
                (true, false) => other = longest.replace(acted),
                (false, false) if later(&other) => other = Some(acted),
                _ => {}
            }
        }
    }
}
