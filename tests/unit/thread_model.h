/*
 * thread_model.h - RFC 5256 3 word by word: slow, recursive, with texts; what the engine's threads must equal
 *
 * Shape     Messages come with what their headers say, already taken apart. The result is text as in a THREAD
 *           response, with uids.
 */
#ifndef TESTS_THREAD_MODEL_H
#define TESTS_THREAD_MODEL_H

#include <mailshelf/buf.h>

enum { THREAD_MODEL_REFS = 8 };

struct thread_model_message {
	uint32_t uid;
	const char *id;                        /* NULL: none */
	const char *ref[THREAD_MODEL_REFS];    /* the first NULL ends them */
	const char *base;                      /* base subject, compared as it is */
	bool reply;
	int64_t sent_s;
};
void thread_model_references(const struct thread_model_message *m, size_t n, struct shelf_buf *out);
void thread_model_subject(const struct thread_model_message *m, size_t n, struct shelf_buf *out);

#endif
