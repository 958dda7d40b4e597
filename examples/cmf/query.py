"""Lists stages, executions and their artifacts."""

import sys

from tracking import CmfQuery

query = CmfQuery(sys.argv[1] if len(sys.argv) > 1 else "mlmd")
for pipeline in query.get_pipeline_names():
    for stage in query.get_pipeline_stages(pipeline):
        for execution in query.get_all_exe_in_stage(stage):
            print(f"{stage}: execution {execution.id}, {execution.properties['Execution'].string_value}")
            for _, row in query.get_all_artifacts_for_execution(execution.id).iterrows():
                print(f"  {row['event']:6} {row['type']:12} {row['name']}")
