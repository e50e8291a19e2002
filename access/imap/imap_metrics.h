/* imap_metrics.h - commands counted, by name and reply; any thread */
#ifndef ACCESS_IMAP_METRICS_H
#define ACCESS_IMAP_METRICS_H

#include "imap.h"

/* NUMBER: of its row in imap_commands.def, SIZE_MAX for what is no command. OURS: the time was not the client's. */
void imap_metrics_command(size_t number, enum imap_condition reply, uint64_t us, bool ours);

#endif
