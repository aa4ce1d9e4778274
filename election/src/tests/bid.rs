//! The bids' order is total, and it is journal, rank, draw, id; property tests.

use proptest::prelude::*;

use crate::{Bid, Draw, NodeId, Position, Rank, Term};

/// Bids from a small space, so that equal fields are common.
fn bid() -> impl Strategy<Value = Bid> {
    (0..3_u64, 0..3_u64, 0..3_u32, -2..=0_i32, 0..4_u64).prop_map(|(term, index, rank, draw, node)| Bid {
        position: Position { term: Term(term), index },
        rank: Rank(rank),
        draw: Draw::new(draw),
        node: NodeId(node),
    })
}

proptest! {
    #[test]
    fn exactly_one_of_less_equal_greater_holds(a in bid(), b in bid()) {
        prop_assert_eq!(u8::from(a < b) + u8::from(a == b) + u8::from(a > b), 1);
        prop_assert_eq!(a < b, b > a);
    }

    #[test]
    fn the_order_is_transitive(a in bid(), b in bid(), c in bid()) {
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
    }

    #[test]
    fn two_nodes_never_offer_the_same(a in bid(), b in bid()) {
        prop_assert!(a.node == b.node || a != b);
    }

    #[test]
    fn the_longer_journal_beats_every_rank(a in bid(), b in bid(), rank in any::<u32>()) {
        if a.position > b.position {
            let ranked = Bid { rank: Rank(rank), ..b };
            prop_assert!(a > ranked);
        }
    }

    #[test]
    fn a_draw_never_beats_a_rank(a in bid(), b in bid(), lost in any::<u16>()) {
        if a.standing() > b.standing() {
            let drawn = Bid { draw: a.draw.minus(lost), ..a };
            prop_assert!(drawn > b);
        }
    }

    #[test]
    fn a_tie_is_what_only_ids_decide(a in bid(), b in bid()) {
        let swapped = (Bid { node: b.node, ..a }, Bid { node: a.node, ..b });
        let ids_decide = a.node != b.node && (a > b) != (swapped.0 > swapped.1);
        prop_assert_eq!(a.ties_with(&b), ids_decide);
        prop_assert_eq!(a.ties_with(&b), b.ties_with(&a));
    }

    #[test]
    fn a_draw_only_loses(points in any::<i32>(), lost in any::<u16>()) {
        let draw = Draw::new(points);
        prop_assert!(draw.points() <= 0 && draw.minus(lost) <= draw);
    }
}
