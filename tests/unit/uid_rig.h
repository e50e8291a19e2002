/* uid_rig.h - mailboxes whose uids lie where a test wants them */
#ifndef TESTS_UID_RIG_H
#define TESTS_UID_RIG_H

#include "store_rig.h"

/* COUNT equal messages under uids from UID on, as if those below had come and gone. */
void uid_fill_from(struct rig *r, uint32_t account, uint32_t mailbox, uint32_t uid, unsigned count);

#endif
