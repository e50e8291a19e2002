/*
 * app_password.h - passwords of an account for one program each
 *
 * Shape     Made here, long and random, shown once; kept as keys (scram.h) under the account's salt, so that each
 *           of them works by SCRAM as well as by PLAIN. Good for some services, until a date, until it is removed.
 * Used      When one last logged somebody in is known to ten minutes.
 * Threads   Any. Writing blocks (store.h).
 */
#ifndef MAILSHELF_APP_PASSWORD_H
#define MAILSHELF_APP_PASSWORD_H

#include <mailshelf/account.h>

enum { SHELF_APP_PASSWORDS_MAX = 16, SHELF_APP_LABEL_MAX = 40, SHELF_APP_SECRET_LEN = 24 };

struct shelf_app_password {
	uint32_t id;          /* in the account; never given again while others are there */
	unsigned services;    /* what it is good for: of IMAP, POP3 and SUBMISSION */
	int64_t created_s;
	int64_t expires_s;    /* 0: never */
	int64_t used_s;       /* 0: never */
	char label[SHELF_APP_LABEL_MAX + 1]; /* UTF-8 without control characters */
};

/*
 * shelf_app_password_add(store, account, new, secret_out, id_out)
 *   new         services, expires_s and label
 *   secret_out  SHELF_APP_SECRET_LEN characters and a NUL: nobody can read it again
 *   returns     0; SHELF_ENAME no label; SHELF_EINVALID services or date; SHELF_EEXISTS the label is there;
 *               SHELF_ELIMIT; SHELF_EBUSY the account's password was changed at this moment
 */
SHELF_CHECK int shelf_app_password_add(struct shelf_store *store, uint32_t account,
    const struct shelf_app_password *new, char *secret_out, uint32_t *id_out);
/* LIST has room for SHELF_APP_PASSWORDS_MAX. */
SHELF_CHECK int shelf_app_password_list(struct shelf_store *store, uint32_t account,
    struct shelf_app_password *list, size_t *n_out);
/* SHELF_EMISSING: none with this id. */
SHELF_CHECK int shelf_app_password_remove(struct shelf_store *store, uint32_t account, uint32_t id);

#endif
