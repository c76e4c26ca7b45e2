//! Permissions and their words.

use super::*;

#[test]
fn a_permission_reads_as_the_word_it_prints() {
    for permission in Permission::ALL {
        assert_eq!(permission.to_string().parse(), Ok(permission));
    }
}

#[test]
fn an_unknown_word_is_refused_with_the_words_there_are() {
    let error = "Read".parse::<Permission>().unwrap_err();
    assert_eq!(
        error.to_string(),
        r#""Read" is no permission; they are read, write, append, delete, rename, mkdir, list, attributes, link"#
    );
}

#[test]
fn a_set_allows_what_was_put_in_and_nothing_else() {
    for permission in Permission::ALL {
        assert!(!May::NOTHING.allows(permission));
        let only: May = [permission].into_iter().collect();
        for other in Permission::ALL {
            assert_eq!(only.allows(other), other == permission);
        }
    }
}

#[test]
fn everything_leaves_out_links() {
    for permission in Permission::ALL {
        assert_eq!(
            May::everything().allows(permission),
            permission != Permission::Link
        );
    }
}
