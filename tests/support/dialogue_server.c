/*
 * dialogue_server.c - a fresh store with the three doors, in this process
 *
 * The store is made when it is first needed, the doors when the first client comes: until then
 * settings may change. One event loop on a thread of its own, a few workers. Settings that a dialogue
 * can rely on are listed in tests/dialogue/README.md.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mailshelf/expire.h>
#include <mailshelf/mailshelf.h>

#include "auth.h"
#include "conf.h"
#include "dialogue.h"
#include "net.h"
#include "protocols.h"
#include "support.h"

struct dialogue_server {
	char dir[4096];
	char error[512];
	struct shelf_store_params params;
	struct shelf_store *store;
	struct conf *conf;
	struct auth *auth;
	struct net_tls *tls;
	struct net_pool *pool;
	struct net_loop *loop;
	struct imap_server *imap;
	struct pop3_server *pop3;
	struct lmtp_server *lmtp;
	pthread_t thread;
	bool doors_open;
};

struct dialogue_server *
dialogue_server_new(void)
{
	static const char *const settings[][2] = {
	    {"hostname", "mail.example.org"},
	    {"lmtp_add_fields", "no"},
	    {"local_domains", "example.org mail.example.org localhost"},
	    {"login_fail_delay_ms", "0"},
	};
	struct dialogue_server *s = SHELF_NEW(struct dialogue_server);

	support_tmpdir(s->dir, sizeof s->dir);
	s->params = (struct shelf_store_params){
	    .partitions = 1, .map_bytes = 1u << 30, .reserve_bytes = 1 << 20};
	s->conf = conf_new();
	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
		if (!conf_set(s->conf, settings[i][0], settings[i][1], s->error, sizeof s->error))
			support_fatal("%s: %s", settings[i][0], s->error);
	return s;
}

static void *
run_loop(void *arg)
{
	net_loop_run(arg);
	return NULL;
}

void
dialogue_server_free(struct dialogue_server **server)
{
	struct dialogue_server *s = *server;

	if (s == NULL)
		return;
	*server = NULL;
	if (s->doors_open) {
		net_loop_stop(s->loop);
		pthread_join(s->thread, NULL);
		net_pool_free(&s->pool);
		net_loop_free(&s->loop);
		imap_server_free(&s->imap);
		pop3_server_free(&s->pop3);
		lmtp_server_free(&s->lmtp);
		auth_free(&s->auth);
	}
	net_tls_unref(&s->tls);
	shelf_store_close(&s->store);
	conf_free(&s->conf);
	support_rmtree(s->dir);
	free(s);
}

static const char *
said(struct dialogue_server *s, const char *what, int rc)
{
	if (rc == 0)
		return NULL;
	snprintf(s->error, sizeof s->error, "%s: %s (%s)", what, shelf_err_text(rc),
	    shelf_err_name(rc));
	return s->error;
}

static const char *
need_store(struct dialogue_server *s)
{
	char dir[4200];
	int rc;

	if (s->store != NULL)
		return NULL;
	snprintf(dir, sizeof dir, "%s/store", s->dir);
	rc = shelf_store_create(dir, &s->params);
	if (rc == 0)
		rc = shelf_store_open(dir, SHELF_OPEN_SERVE, &s->store);
	return said(s, "the store", rc);
}

static const char *
need_doors(struct dialogue_server *s)
{
	const char *error = need_store(s);

	if (error != NULL || s->doors_open)
		return error;
	conf_finish(s->conf);
	s->auth = auth_new(s->store, s->conf);
	s->imap = imap_server_new(s->store, s->conf, s->auth);
	s->pop3 = pop3_server_new(s->store, s->conf, s->auth);
	s->lmtp = lmtp_server_new(s->store, s->conf);
	s->pool = net_pool_new(4, 3);
	s->loop = net_loop_new();
	s->doors_open = true;
	if (pthread_create(&s->thread, NULL, run_loop, s->loop) != 0)
		support_fatal("no thread for the loop");
	return NULL;
}

static const char *
need_tls(struct dialogue_server *s)
{
	char cert[4200], key[4200];

	if (s->tls != NULL)
		return NULL;
	support_certificate(s->dir);
	snprintf(cert, sizeof cert, "%s/cert.pem", s->dir);
	snprintf(key, sizeof key, "%s/key.pem", s->dir);
	s->tls = net_tls_new(cert, key, s->error, sizeof s->error);
	return s->tls == NULL ? s->error : NULL;
}

static bool
number(const char *word, uint64_t *out)
{
	if (word == NULL) {
		*out = 0;
		return true;
	}
	return shelf_span_u64(shelf_span_str(word), UINT64_MAX, out);
}

static const char *
do_account(struct dialogue_server *s, const struct dialogue_step *step)
{
	struct shelf_account_new account = {.name = shelf_span_str(step->word[0])};

	if (strcmp(step->word[1], "-") != 0)
		account.password = shelf_span_str(step->word[1]);
	if (!number(step->nwords > 2 ? step->word[2] : NULL, &account.limit_bytes) ||
	    !number(step->nwords > 3 ? step->word[3] : NULL, &account.limit_messages))
		return "a quota is a number";
	return said(s, "account", shelf_account_add(s->store, &account, 1, NULL, NULL));
}

static const char *
do_deliver(struct dialogue_server *s, const struct dialogue_step *step, uint32_t account,
    struct shelf_span message)
{
	const char *mailbox = step->kind == DIALOGUE_DELIVER && step->nwords > 1 ? step->word[1] : "";
	struct shelf_delivery to = {.account = account, .mailbox = shelf_span_str(mailbox)};
	struct shelf_append_result result = {0};
	struct shelf_draft *draft = NULL;
	int rc = shelf_draft_new(s->store, &draft);

	if (rc == 0)
		rc = shelf_draft_write(draft, message.data, message.len);
	if (rc == 0)
		rc = shelf_draft_finish(draft);
	if (rc == 0) {
		shelf_deliver(s->store, draft, &to, 1, &result);
		rc = result.rc;
	}
	shelf_draft_free(&draft);
	if (step->kind == DIALOGUE_DELIVER)
		return said(s, "deliver", rc);
	if (strcmp(shelf_err_name(rc), step->word[1]) == 0)
		return NULL;
	snprintf(s->error, sizeof s->error, "the delivery ended with %s", shelf_err_name(rc));
	return s->error;
}

static const char *
do_services(struct dialogue_server *s, const struct dialogue_step *step, uint32_t account)
{
	static const char *const names[] = {"imap", "pop3", "delivery", "admin"};
	unsigned services = 0;

	for (size_t i = 1; i < step->nwords; i++) {
		unsigned bit = 0;

		for (unsigned k = 0; k < 4; k++)
			if (strcmp(step->word[i], names[k]) == 0)
				bit = 1u << k;
		if (bit == 0)
			return "services are imap, pop3, delivery and admin";
		services |= bit;
	}
	return said(s, "services", shelf_account_set_services(s->store, account, services, false));
}

static const char *
do_setting(struct dialogue_server *s, const struct dialogue_step *step)
{
	enum shelf_setting id;
	uint64_t value;

	if (!shelf_setting_find(shelf_span_str(step->word[0]), &id) || !number(step->word[1], &value))
		return "setting NAME NUMBER, as in settings.def";
	return said(s, "setting", shelf_setting_set(s->store, id, value));
}

static const char *
do_policy(struct dialogue_server *s, const struct dialogue_step *step)
{
	enum shelf_policy id;
	uint64_t value;

	if (!shelf_policy_find(shelf_span_str(step->word[1]), &id))
		return "no such policy in policy.def";
	if (shelf_policy_info(id)->kind == SHELF_POLICY_KIND_MAILBOX)
		return said(s, "policy", shelf_policy_set_text(s->store, shelf_span_str(step->word[0]), id,
		    shelf_span_str(step->word[2])));
	if (!number(step->word[2], &value))
		return "policy SCOPE NAME NUMBER, as in policy.def";
	return said(s, "policy", shelf_policy_set(s->store, shelf_span_str(step->word[0]), id, value));
}

static const char *
do_expire(struct dialogue_server *s, const struct dialogue_step *step)
{
	struct shelf_expire_rule rule = {.by = SHELF_EXPIRE_SAVED};
	uint64_t hours;
	uint32_t id;

	if (!number(step->word[1], &hours) || hours > UINT32_MAX / 3600)
		return "expire SCOPE HOURS MAILBOX";
	rule.age_s = (uint32_t)hours * 3600;
	snprintf(rule.pattern, sizeof rule.pattern, "%s", step->word[2]);
	return said(s, "expire", shelf_expire_add(s->store, shelf_span_str(step->word[0]), &rule, &id));
}

static const char *
do_alias(struct dialogue_server *s, const struct dialogue_step *step)
{
	struct shelf_span target[DIALOGUE_WORDS_MAX];

	for (size_t i = 1; i < step->nwords; i++)
		target[i - 1] = shelf_span_str(step->word[i]);
	return said(s, "alias", shelf_alias_set(s->store, shelf_span_str(step->word[0]), target, step->nwords - 1));
}

static const char *
do_damage(struct dialogue_server *s, const struct dialogue_step *step, uint32_t account)
{
	uint64_t uid, frame;

	if (number(step->word[2], &uid) && strcmp(step->word[3], "flags") == 0)
		return said(s, "damage", dialogue_damage_flags(s->store, account, step->word[1], (uint32_t)uid));
	if (number(step->word[2], &uid) && strcmp(step->word[3], "preview") == 0)
		return said(s, "damage", dialogue_forget_preview(s->store, account, step->word[1], (uint32_t)uid));
	if (!number(step->word[2], &uid) || !number(step->word[3], &frame))
		return "damage NAME MAILBOX UID FRAME|flags|preview";
	return said(s, "damage", dialogue_damage(s->store, account, step->word[1], (uint32_t)uid,
	    (uint32_t)frame));
}

/* What names an account that must be there. */
static const char *
do_with_account(struct dialogue_server *s, const struct dialogue_step *step,
    struct shelf_span message)
{
	struct shelf_account account;
	uint64_t bytes, messages, mailboxes;
	int rc = shelf_account_find(s->store, shelf_span_str(step->word[0]), &account);

	if (rc != 0)
		return said(s, step->word[0], rc);
	if (step->kind == DIALOGUE_SERVICES)
		return do_services(s, step, account.id);
	if (step->kind == DIALOGUE_PASSWORD)
		return said(s, "password", shelf_account_set_password(s->store, account.id,
		    shelf_span_str(step->word[1])));
	if (step->kind == DIALOGUE_DAMAGE)
		return do_damage(s, step, account.id);
	if (step->kind != DIALOGUE_QUOTA)
		return do_deliver(s, step, account.id, message);
	if (!number(step->word[1], &bytes) || !number(step->nwords > 2 ? step->word[2] : NULL, &messages) ||
	    !number(step->nwords > 3 ? step->word[3] : NULL, &mailboxes))
		return "a quota is a number";
	return said(s, "quota", shelf_quota_set(s->store, account.id, bytes, messages, mailboxes));
}

const char *
dialogue_server_do(struct dialogue_server *s, const struct dialogue_step *step,
    struct shelf_span message)
{
	const char *error;
	uint64_t hold;

	if (step->kind == DIALOGUE_CONF) {
		if (s->doors_open)
			return "settings come before the first connection";
		return conf_set(s->conf, step->word[0], step->word[1], s->error, sizeof s->error)
		           ? NULL : s->error;
	}
	if (step->kind == DIALOGUE_STORE) {
		if (s->store != NULL || strcmp(step->word[0], "hold") != 0)
			return "store hold SECONDS comes before everything else";
		hold = UINT32_MAX;
		if (strcmp(step->word[1], "none") != 0 && !number(step->word[1], &hold))
			return "how long? SECONDS or none";
		s->params.hold_s = (uint32_t)hold;
		return NULL;
	}
	error = need_store(s);
	if (error != NULL)
		return error;
	if (step->kind == DIALOGUE_ACCOUNT)
		return do_account(s, step);
	if (step->kind == DIALOGUE_SETTING)
		return do_setting(s, step);
	if (step->kind == DIALOGUE_POLICY)
		return do_policy(s, step);
	if (step->kind == DIALOGUE_EXPIRE)
		return do_expire(s, step);
	if (step->kind == DIALOGUE_ALIAS)
		return do_alias(s, step);
	return do_with_account(s, step, message);
}

struct shelf_store *
dialogue_server_store(struct dialogue_server *s)
{
	return s->store;
}

int
dialogue_server_connect(struct dialogue_server *s, const struct dialogue_step *step,
    const char **error)
{
	const char *door = step->word[1], *tls = step->nwords > 2 ? step->word[2] : "";
	struct net_conn_params params = {0};
	int fd[2];

	*error = need_doors(s);
	if (*error == NULL && *tls != '\0')
		*error = need_tls(s);
	if (*error != NULL)
		return -1;
	params.pool = s->pool;
	params.tls = *tls == '\0' ? NULL : s->tls;
	params.tls_at_once = strcmp(tls, "tls") == 0;
	if (strcmp(door, "imap") == 0) {
		params.protocol = &imap_protocol;
		params.server = s->imap;
	} else if (strcmp(door, "pop3") == 0) {
		params.protocol = &pop3_protocol;
		params.server = s->pop3;
	} else if (strcmp(door, "lmtp") == 0) {
		params.protocol = &lmtp_protocol;
		params.server = s->lmtp;
	}
	if (params.protocol == NULL ||
	    (*tls != '\0' && !params.tls_at_once && strcmp(tls, "starttls") != 0)) {
		*error = "connect NAME imap|pop3|lmtp [tls|starttls]";
		return -1;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) != 0) {
		*error = "no socket pair";
		return -1;
	}
	net_conn_attach(s->loop, fd[1], "unix", &params);
	return fd[0];
}
