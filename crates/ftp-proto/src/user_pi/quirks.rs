//! The ledger of what servers do against the RFCs and we put up with: each with its evidence and its test.

/// Something that a server does against the RFCs and that does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Quirk {
    /// A multi-line reply that ends under another code than it began with.
    OtherEndCode,
    /// A transfer command answered by 2yz where RFC 959 §5.4 has 1yz, and a final reply later.
    DoneInsteadOfPreliminary,
    /// A second 226 for one transfer.
    SecondEndOfTransfer,
    /// EPSV answered by 227.
    PassiveForExtendedPassive,
    /// 227 without brackets around the numbers.
    PassiveWithoutBrackets,
    /// 229 with the protocol and address filled in, or without the last delimiter.
    OddExtendedPassive,
    /// REST answered by 2yz.
    RestartDone,
    /// FEAT lines that do not begin with a space (RFC 2389 §3.2).
    FeaturesUnindented,
}

/// A quirk, where it was seen, and the test that holds us to it (in `user_pi/tests.rs`).
#[derive(Debug)]
pub struct Evidence {
    /// What.
    pub quirk: Quirk,
    /// Where it was seen.
    pub seen: &'static str,
    /// The name of the test.
    pub test: &'static str,
}

/// Every quirk once.
pub const LEDGER: [Evidence; 8] = [
    Evidence {
        quirk: Quirk::OtherEndCode,
        seen: "servers reported to suppaftp (its issue 169): `230-…` ended by `220 …`",
        test: "another_end_code_ends_a_reply_when_nothing_follows",
    },
    Evidence {
        quirk: Quirk::DoneInsteadOfPreliminary,
        seen: "old embedded servers; FileZilla and Python's ftplib put up with it too",
        test: "two_hundred_instead_of_one_fifty_begins_a_transfer",
    },
    Evidence {
        quirk: Quirk::SecondEndOfTransfer,
        seen: "servers that answer a transfer and its ABOR with 226 each (RFC 959 §5.4 allows it then only)",
        test: "a_second_226_is_not_the_answer_to_the_next_command",
    },
    Evidence {
        quirk: Quirk::PassiveForExtendedPassive,
        seen: "servers known to FluentFTP, which treat EPSV as a spelling of PASV",
        test: "extended_passive_may_be_answered_as_passive",
    },
    Evidence {
        quirk: Quirk::PassiveWithoutBrackets,
        seen: "RFC 1123 §4.1.2.6 warns of it: scan for the first digit",
        test: "passive_needs_no_brackets",
    },
    Evidence {
        quirk: Quirk::OddExtendedPassive,
        seen: "a Zyxel NAS and others: `229 (|||port)`; lftp's issue 370, FluentFTP's `(!!!port!)`",
        test: "extended_passive_takes_any_delimiter_and_a_missing_last_one",
    },
    Evidence {
        quirk: Quirk::RestartDone,
        seen: "servers that answer 200 wherever the RFC says 350 (suppaftp's issue 158 has its sibling, 200 for 250)",
        test: "restart_may_be_answered_by_200",
    },
    Evidence {
        quirk: Quirk::FeaturesUnindented,
        seen: "old Windows servers, among them the ones that list `211-Features:` and bare names",
        test: "features_are_read_with_and_without_the_space",
    },
];

#[cfg(test)]
mod tests {
    use super::LEDGER;

    #[test]
    fn every_quirk_has_its_test() {
        let tests = include_str!("tests.rs");
        for evidence in &LEDGER {
            assert!(tests.contains(&format!("fn {}()", evidence.test)), "{evidence:?}");
        }
        let mut quirks: Vec<_> = LEDGER.iter().map(|evidence| evidence.quirk).collect();
        quirks.dedup();
        assert_eq!(quirks.len(), LEDGER.len());
    }
}
