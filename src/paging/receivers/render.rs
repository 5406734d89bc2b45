//! What expands the templates of a configuration; the template room is lent by whoever starts paging.

use crate::paging::notification::Notification;

/// What a template is expanded with.
#[derive(Debug, Clone, Copy)]
pub struct RenderContext<'a> {
    pub notification: &'a Notification,
    pub external_url: &'a str,
    /// The link to acknowledge, where there is one: `.AckURL` in templates, otherwise empty there.
    pub ack_url: Option<&'a str>,
    /// The link to say whether it was useful: `.FeedbackURL`, likewise.
    pub feedback_url: Option<&'a str>,
    /// Is the output a page, in which what is inserted must be escaped?
    pub html: bool,
}

/// Expands the templates of a receiver's configuration.
pub trait Render: Send + Sync {
    /// The text of `template` for this notification.
    ///
    /// # Errors
    /// What is wrong with the template; a page then goes out with a plain text instead.
    fn render(&self, template: &str, context: &RenderContext<'_>) -> Result<String, String>;
}

/// Leaves texts as they are, and knows no templates.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTemplates;

impl Render for NoTemplates {
    fn render(&self, template: &str, _: &RenderContext<'_>) -> Result<String, String> {
        if template.contains("{{") {
            Err("templates are not available".to_owned())
        } else {
            Ok(template.to_owned())
        }
    }
}
