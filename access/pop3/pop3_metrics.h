/* pop3_metrics.h - commands counted, by name; any thread */
#ifndef ACCESS_POP3_METRICS_H
#define ACCESS_POP3_METRICS_H

#include <stddef.h>

/* NUMBER: of its row in pop3_commands.def, SIZE_MAX for what is no command. */
void pop3_metrics_command(size_t number);

#endif
