/*
 * eval.c - is this message wanted? As far as is known about it now
 *
 * Three values: an AND with a NO is NO whatever is OPEN, an OR with a YES is YES, the NOT of OPEN is OPEN.
 * So each step of knowledge is paid for only when the cheaper ones did not decide. Leaves remember their
 * value for the message at hand.
 */
#include <mailshelf/mem.h>

#include "search.h"

/* RFC 9051 6.4.4 compares dates "disregarding time and timezone": the day as it was written. */
static int64_t
day_of(int64_t utc_s, int zone_min)
{
	int64_t local = utc_s + (int64_t)zone_min * 60;

	return local >= 0 ? local / 86400 : -((-local + 86399) / 86400);
}

static bool
compare_days(enum shelf_key_kind kind, int64_t day, int64_t wanted)
{
	switch (kind) {
	case SHELF_KEY_BEFORE:
	case SHELF_KEY_SENTBEFORE:
	case SHELF_KEY_SAVEDBEFORE:
		return day < wanted;
	case SHELF_KEY_ON:
	case SHELF_KEY_SENTON:
	case SHELF_KEY_SAVEDON:
		return day == wanted;
	default:
		return day >= wanted;
	}
}

static bool
in_utf8(const struct search_match *pattern, struct shelf_span utf8)
{
	struct search_match m = *pattern, *list[1] = {&m};
	struct search_text t;

	t.converter = NULL;
	search_text_begin(&t, shelf_span(NULL, 0), list, 1);
	search_text_feed(&t, utf8);
	search_text_end(&t);
	return m.found;
}

static enum search_value
text_of_record(const struct search_node *node, struct shelf_span value)
{
	struct shelf_buf text = {0};
	enum search_value result;

	if (value.data == NULL)
		return SEARCH_NO;
	if (node->any)
		return SEARCH_YES;
	mime_header_utf8(value, &text);
	result = in_utf8(&node->match, shelf_buf_span(&text)) ? SEARCH_YES : SEARCH_NO;
	shelf_buf_free(&text);
	return result;
}

static void
print_address(const struct mime_address *a, struct shelf_buf *out)
{
	bool group = a->host.data == NULL;

	if (a->name.len > 0) {
		mime_header_utf8(a->name, out);
		shelf_buf_add_byte(out, ' ');
	}
	if (a->mailbox.data != NULL) {
		shelf_buf_add_str(out, group ? "" : "<");
		if (group)
			mime_header_utf8(a->mailbox, out);
		else
			shelf_buf_add_span(out, a->mailbox);
		if (!group) {
			shelf_buf_add_byte(out, '@');
			shelf_buf_add_span(out, a->host);
		}
		shelf_buf_add_str(out, group ? ": " : ">, ");
	}
}

/*
 * Addresses are matched as a person reads them, `Name <local@host>`. Where the written field may hold
 * more than that (quotes, comments, lists cut at the limit) and no match was found, the header itself
 * is asked: OPEN.
 */
static enum search_value
addresses_of_record(const struct search_node *node, const struct mime_address *list)
{
	struct shelf_buf text = {0};
	unsigned n = 0;
	bool found;

	if (list == NULL || node->any || !node->plain)
		return list != NULL && node->any ? SEARCH_YES : SEARCH_OPEN;
	for (const struct mime_address *a = list; a != NULL; a = a->next, n++)
		print_address(a, &text);
	found = in_utf8(&node->match, shelf_buf_span(&text));
	shelf_buf_free(&text);
	if (found)
		return SEARCH_YES;
	return n >= MIME_ADDRESSES_MAX ? SEARCH_OPEN : SEARCH_NO;
}

static enum search_value
header_of_record(const struct search_node *node, const struct mime_part *root)
{
	const struct mime_envelope *e = root->envelope;

	if (e == NULL)
		return SEARCH_OPEN;
	switch (node->field) {
	case SEARCH_FIELD_OTHER:
		return SEARCH_OPEN;
	case SEARCH_FIELD_SUBJECT:
		return text_of_record(node, e->subject);
	case SEARCH_FIELD_MESSAGE_ID:
		return text_of_record(node, e->message_id);
	case SEARCH_FIELD_IN_REPLY_TO:
		return text_of_record(node, e->in_reply_to);
	case SEARCH_FIELD_FROM:
		return addresses_of_record(node, e->from);
	case SEARCH_FIELD_SENDER:
		return addresses_of_record(node, e->sender);
	case SEARCH_FIELD_REPLY_TO:
		return addresses_of_record(node, e->reply_to);
	case SEARCH_FIELD_TO:
		return addresses_of_record(node, e->to);
	case SEARCH_FIELD_CC:
		return addresses_of_record(node, e->cc);
	case SEARCH_FIELD_BCC:
		return addresses_of_record(node, e->bcc);
	}
	return SEARCH_OPEN;
}

static enum search_value
sent(const struct search_node *node, const struct mime_part *root)
{
	const struct mime_envelope *e = root->envelope;

	if (e == NULL || e->sent_s == INT64_MIN)
		return SEARCH_NO;
	return compare_days(node->kind, day_of(e->sent_s, e->sent_zone_min),
	    (int64_t)node->key->number) ? SEARCH_YES : SEARCH_NO;
}

static bool
row_matches(const struct search_node *node, const struct shelf_msg *msg, int64_t now_s)
{
	uint64_t n = node->key->number;
	int64_t age_s = now_s - msg->internaldate_s;

	switch (node->kind) {
	case SHELF_KEY_LARGER:
		return msg->size > n;
	case SHELF_KEY_SMALLER:
		return msg->size < n;
	case SHELF_KEY_OLDER: /* RFC 5032 3: on the border both match */
		return age_s >= 0 && (uint64_t)age_s >= n;
	case SHELF_KEY_YOUNGER:
		return age_s < 0 || (uint64_t)age_s <= n;
	case SHELF_KEY_SAVEDBEFORE:
	case SHELF_KEY_SAVEDON:
	case SHELF_KEY_SAVEDSINCE:
		return compare_days(node->kind, day_of(msg->savedate_s, 0), (int64_t)n);
	case SHELF_KEY_EMAILID:
		return shelf_span_eq(node->key->text, shelf_span(msg->email_id, sizeof msg->email_id));
	default:
		return compare_days(node->kind, day_of(msg->internaldate_s, msg->zone_min),
		    (int64_t)n);
	}
}

static enum search_value
eval_leaf(struct search_node *node, struct search_subject *s)
{
	const struct shelf_key *key = node->key;
	bool yes;

	switch (node->kind) {
	case SHELF_KEY_ALL:
		return SEARCH_YES;
	case SHELF_KEY_UIDS:
	case SHELF_KEY_RECENT:
		yes = shelf_uidset_has(key->uids, s->msg.uid);
		break;
	case SHELF_KEY_FLAG:
		yes = (s->msg.flags & key->flag) != 0;
		break;
	case SHELF_KEY_KEYWORD:
		yes = shelf_msg_has_keyword(&s->msg, node->keyword);
		break;
	case SHELF_KEY_MODSEQ:
		yes = s->msg.modseq >= key->number;
		break;
	case SHELF_KEY_SENTBEFORE:
	case SHELF_KEY_SENTON:
	case SHELF_KEY_SENTSINCE:
		return sent(node, s->record);
	case SHELF_KEY_HEADER:
		return header_of_record(node, s->record);
	case SHELF_KEY_BODY:
	case SHELF_KEY_TEXT:
		return SEARCH_OPEN; /* the pass over the bytes sets the value */
	default:
		yes = row_matches(node, &s->msg, s->now_s);
		break;
	}
	return yes ? SEARCH_YES : SEARCH_NO;
}

enum search_value
search_eval(struct search_node *node, struct search_subject *s)
{
	enum search_value result;

	if (node->kind == SHELF_KEY_NOT) {
		result = search_eval(node->child, s);
		if (result != SEARCH_OPEN)
			result = result == SEARCH_YES ? SEARCH_NO : SEARCH_YES;
		return node->value = result;
	}
	if (node->kind != SHELF_KEY_AND && node->kind != SHELF_KEY_OR) {
		if (node->value == SEARCH_OPEN && node->need <= s->have)
			node->value = eval_leaf(node, s);
		return node->value;
	}
	result = node->kind == SHELF_KEY_AND ? SEARCH_YES : SEARCH_NO;
	for (struct search_node *c = node->child; c != NULL; c = c->next) {
		enum search_value v = search_eval(c, s);

		if (v == SEARCH_OPEN)
			result = v;
		else if (v == (node->kind == SHELF_KEY_AND ? SEARCH_NO : SEARCH_YES))
			return node->value = v;
	}
	return node->value = result;
}

/* An inner node that is OPEN has asked all its children just now, so their values are fresh. */
void
search_mark_wanted(struct search_node *node)
{
	if (node->value != SEARCH_OPEN)
		return;
	node->wanted = node->child == NULL;
	for (struct search_node *c = node->child; c != NULL; c = c->next)
		search_mark_wanted(c);
}
